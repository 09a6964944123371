#include "worker/engine.hpp"

#include <algorithm>
#include <utility>

namespace errand::worker {

Engine::Engine(EngineOptions options, const Registry& registry)
    : options_(std::move(options)),
      registry_(registry),
      revoked_(options_.max_revoked, options_.revoked_for),
      recent_(options_.max_recent) {
  for (const TaskDefinition* task : registry.all()) {
    if (task->options.rate_limit.tasks > 0) rates_.emplace(task->name, RateGate{task->options.rate_limit});
  }
}

void Engine::step(Input input, Now now, std::vector<Effect>& out) {
  if (halted_) return;
  std::visit([&](auto& one) { on(one, now, out); }, input);
  halt_if_done(out);
}

std::optional<SteadyPoint> Engine::next_timer() const {
  SteadyPoint next = held_.empty() ? SteadyPoint::max() : renew_at_;
  if (stop_) next = std::min({next, stop_by_, leave_at_});
  for (const auto& [run, held] : held_) {
    if (held.escalate_at) next = std::min(next, *held.escalate_at);
    if (!held.begun && (held.phase == Phase::waiting || held.phase == Phase::dispatched)) {
      next = std::min(next, held.since + options_.hold_unstarted);
    }
  }
  if (next == SteadyPoint::max()) return std::nullopt;
  return next;
}

std::size_t Engine::wanted(std::size_t free) const noexcept {
  if (stop_ || halted_ || free <= waiting_.size()) return 0;
  std::size_t want = free - waiting_.size();
  if (options_.prefetch_multiplier > 0) {
    const std::size_t most = options_.concurrency * options_.prefetch_multiplier;
    want = held_.size() >= most ? 0 : std::min(want, most - held_.size());
  }
  return want;
}

void Engine::on(Delivered& input, Now now, std::vector<Effect>& out) {
  if (held_.empty() && !input.arrivals.empty()) renew_at_ = now.steady + options_.lease / 3;
  for (Arrival& arrival : input.arrivals) admit(std::move(arrival), now, out);
}

void Engine::on(Capacity& input, Now now, std::vector<Effect>& out) {
  while (input.free > 0 && !waiting_.empty()) {
    const std::uint64_t run = waiting_.front();
    waiting_.pop_front();
    auto found = held_.find(run);
    if (found == held_.end() || found->second.phase != Phase::waiting) continue;
    Held& held = found->second;
    if (!held.acked && held.ours_until <= now.steady) {
      // This process stood still. Whether the message is still its own is asked first, or it would run twice.
      waiting_.push_front(run);
      renew_at_ = std::min(renew_at_, now.steady);
      return;
    }
    if (refuse_before_start(run, held, now, out)) continue;
    input.free -= 1;
    if (held.task->options.acks_late || held.acked) {
      start(run, held, now, out);
    } else {
      held.phase = Phase::acking;
      held.settled = true;
      CommitEntry entry{.run = run, .settlement = Settlement{.receipt = held.arrival.receipt}};
      end_sending(held, entry, now);
      out.push_back(std::move(entry));
    }
  }
}

void Engine::on(Started& input, Now now, std::vector<Effect>& out) {
  auto found = held_.find(input.run);
  if (found == held_.end() || found->second.begun || found->second.finishing) return;
  Held& held = found->second;
  held.begun = true;
  held.since = now.steady;
  emit(Emit::What::started, held, {}, out);
  if (held.task->options.track_started && stores(held, false)) {
    TaskResult started = record(held, state::started, now);
    Object meta{{"pid", input.pid}, {"hostname", options_.node_name}};
    started.result_json = to_json(Value(std::move(meta)));
    out.push_back(CommitEntry{.result = std::move(started)});
  }
  if (!held.revoked.empty()) {
    out.push_back(Kill{input.run, Cancel::cooperative, held.revoked});
    held.told_at = now.steady;
    held.escalate_at = now.steady + kEscalateAfter;
  }
}

void Engine::on(Progressed& input, Now now, std::vector<Effect>& out) {
  auto found = held_.find(input.progress.run);
  if (found == held_.end() || found->second.phase != Phase::dispatched) return;
  if (!stores(found->second, false)) return;
  TaskResult progress = record(found->second, input.progress.state, now);
  progress.result_json = std::move(input.progress.meta_json);
  out.push_back(CommitEntry{.result = std::move(progress)});
}

void Engine::on(Finished& input, Now now, std::vector<Effect>& out) {
  auto found = held_.find(input.outcome.run);
  if (found == held_.end() || found->second.phase != Phase::dispatched) return;
  if (found->second.lost) {
    // Whoever has the message now decides what it comes to. Storing this would be a second commit.
    emit(Emit::What::lease_lost, found->second, "what it came to here is dropped", out, input.outcome.duration);
    held_.erase(found);
    return;
  }
  // A pool need not tell of a start whose end is known as well.
  if (Held& held = found->second; !std::exchange(held.begun, true)) emit(Emit::What::started, held, {}, out);
  finish(found->first, found->second, input.outcome, now, out);
}

void Engine::on(ProcessEnded& input, Now, std::vector<Effect>& out) {
  const auto found = held_.find(input.running);
  ProcessReport report{.pid = input.pid, .status = input.status};
  if (found != held_.end()) {
    report.id = found->second.arrival.id;
    report.task = found->second.arrival.task;
  }
  out.push_back(std::move(report));
}

void Engine::on(Reclaimed& input, Now now, std::vector<Effect>& out) {
  for (std::uint64_t run : input.runs) {
    auto found = held_.find(run);
    if (found == held_.end() || found->second.phase != Phase::dispatched) continue;
    if (found->second.lost) {
      held_.erase(found);
      continue;
    }
    if (found->second.finishing) {
      // Its task has already ended; only the hooks wait for a process. Run them again.
      Held& held = found->second;
      start(run, held, now, out);
      continue;
    }
    if (found->second.settled) {
      // Acknowledged early: the broker no longer has it, so it stays ours.
      found->second.phase = Phase::waiting;
      found->second.since = now.steady;
      waiting_.push_front(run);
      continue;
    }
    give_back(run, found->second, now, out);
  }
}

void Engine::on(Committed& input, Now now, std::vector<Effect>& out) {
  for (std::uint64_t run : input.runs) {
    auto found = held_.find(run);
    if (found == held_.end()) continue;
    if (found->second.phase == Phase::acking && !found->second.lost) {
      found->second.acked = true;
      // The store may have been away meanwhile: long enough for a revoke, or for it to expire.
      if (!refuse_before_start(run, found->second, now, out)) start(run, found->second, now, out);
    } else if (found->second.phase == Phase::acking) {
      held_.erase(found);
    } else if (found->second.phase == Phase::committing) {
      held_.erase(found);
      settled_ += 1;
    }
  }
}

void Engine::on(Control& input, Now now, std::vector<Effect>& out) {
  if (auto* rate = std::get_if<SetRateLimit>(&input)) {
    rates_.insert_or_assign(rate->task, RateGate{rate->limit});
  } else if (auto* limits = std::get_if<SetTimeLimits>(&input)) {
    limits_.insert_or_assign(limits->task, std::pair{limits->soft, limits->hard});
  } else if (auto* tasks = std::get_if<RevokeTasks>(&input)) {
    revoke(*tasks, now, out);
  }
}

void Engine::on(Tick&, Now now, std::vector<Effect>& out) {
  renew_if_due(now, out);
  bool reclaim = false;
  for (auto& [run, held] : held_) {
    if (held.escalate_at && *held.escalate_at <= now.steady) {
      held.escalated = held.escalated == Cancel::cooperative ? Cancel::soft : Cancel::kill;
      out.push_back(Kill{run, held.escalated, held.revoked});
      held.escalate_at.reset();
      if (held.escalated != Cancel::kill) held.escalate_at = now.steady + kEscalateAfter;
    }
    const bool too_long = !held.begun && !held.finishing && held.since + options_.hold_unstarted <= now.steady;
    if (!too_long) continue;
    if (held.phase == Phase::waiting && !held.settled) {
      give_back(run, held, now, out);
    } else if (held.phase == Phase::dispatched || held.phase == Phase::waiting) {
      reclaim = reclaim || held.phase == Phase::dispatched;
      held.since = now.steady;  // ask again only after another whole wait
    }
  }
  // It gives back everything that has not begun, also what came a moment ago and will come again: not at every turn.
  if (reclaim && reclaimed_at_ + options_.hold_unstarted <= now.steady) {
    reclaimed_at_ = now.steady;
    out.push_back(Reclaim{});
  }
  if (stop_ && stop_by_ <= now.steady) stop_running(StopKind::cold, now, out);
  if (leave_at_ <= now.steady) stop_waiting(now, out);
}

void Engine::emit(Emit::What what, const Held& held, std::string detail, std::vector<Effect>& out,
                  std::chrono::nanoseconds duration) const {
  if (options_.reported != nullptr && !options_.reported(what)) return;
  out.push_back(Emit{what, held.arrival.id, held.arrival.task, held.arrival.receipt.queue, held.arrival.retries,
                     duration, std::move(detail)});
}

}  // namespace errand::worker
