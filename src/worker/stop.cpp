// Engine, the part that ends it.
//
// Stop order: fetch nothing more (wanted() is 0 from here on); give back what has not begun; then, by kind, wait for
// what runs, ask it to stop, or kill it. Nothing of it counts as an attempt or a delivery. The grace of a warm or soft
// stop ends in a cold one, and a cold one ends whatever a task or a store does.
#include "worker/engine.hpp"

#include <algorithm>

namespace errand::worker {

namespace {
// Killed processes are reported and outcomes stored within this; then what cannot be killed (a thread) is given back,
// and after a moment more for that the worker leaves. Together below the 5 s that a stop may take beyond its grace.
constexpr Milliseconds kKillPatience{3'000};
constexpr Milliseconds kLastPatience{1'000};
}  // namespace

void Engine::on(StopRequested& input, Now now, std::vector<Effect>& out) {
  if (stop_ && input.kind <= *stop_) return;
  if (!stop_) stop_by_ = std::min(now.steady, input.at) + options_.grace;
  stop_running(input.kind, now, out);
}

void Engine::stop_running(StopKind kind, Now now, std::vector<Effect>& out) {
  stop_ = kind;
  if (kind == StopKind::cold) {
    stop_by_ = SteadyPoint::max();
    leave_at_ = now.steady + kKillPatience;
  }
  for (auto& [run, held] : held_) {
    if (held.phase == Phase::waiting && !held.settled) give_back(run, held, now, out);
  }
  std::erase_if(waiting_, [&](std::uint64_t run) {
    const auto found = held_.find(run);
    return found == held_.end() || found->second.phase != Phase::waiting;
  });
  out.push_back(Reclaim{});
  if (kind == StopKind::warm) return;
  for (auto& [run, held] : held_) {
    if (held.phase != Phase::dispatched || held.finishing) continue;
    if (kind == StopKind::cold) {
      held.give_back = true;
      interrupted_ = interrupted_ || held.begun;
    }
    out.push_back(Kill{run, kind == StopKind::cold ? Cancel::kill : Cancel::cooperative, "worker stops"});
  }
}

// A store is away, or a task cannot be killed. First its message goes back; then whatever is left is left: its lease
// ends by itself, and it runs again.
void Engine::stop_waiting(Now now, std::vector<Effect>& out) {
  interrupted_ = true;
  if (!gave_up_) {
    gave_up_ = true;
    leave_at_ = now.steady + kLastPatience;
    for (auto& [run, held] : held_) {
      if (held.phase == Phase::dispatched && !held.settled && !held.lost) give_back(run, held, now, out);
    }
    return;
  }
  for (auto& [run, held] : held_) {
    emit(Emit::What::abandoned, held,
         held.phase == Phase::committing ? "its store is away; its lease ends by itself" : "it cannot be stopped", out);
  }
  held_.clear();
  waiting_.clear();
}

void Engine::halt_if_done(std::vector<Effect>& out) {
  if (!stop_ || halted_) return;
  if (!held_.empty()) return;
  halted_ = true;
  out.push_back(Halt{interrupted_ ? 1 : 0});
}

}  // namespace errand::worker
