// Engine, the part that knows whose the messages are: renewing what is held, and letting go of what was lost.
#include "worker/engine.hpp"

#include <algorithm>

namespace errand::worker {

namespace {
// After a renewal that failed the next try comes sooner, so that one lost round trip does not cost the lease.
constexpr int kTriesPerThird = 4;
// Brokers may take the messages of a worker that is silent for this long, whatever the lease is (Redis: the owner's
// heartbeat). Two thirds of it leave room for clocks and waits.
constexpr Milliseconds kLongestSilence{30'000};
}  // namespace

SteadyPoint Engine::sure_until(SteadyPoint since) const noexcept {
  return since + std::min(options_.lease, kLongestSilence) * 2 / 3;
}

// Everything held: running, waiting, with the pool, and what waits for a store that is away. Only an early
// acknowledgement that is safe ends a lease before its run.
void Engine::renew_if_due(Now now, std::vector<Effect>& out) {
  if (held_.empty() || renew_at_ > now.steady) return;
  std::vector<Receipt> receipts;
  for (const auto& [run, held] : held_) {
    if (!held.acked && !held.lost) receipts.push_back(held.arrival.receipt);
  }
  renew_at_ = now.steady + options_.lease / 3;
  if (receipts.empty()) return;
  renewing_since_ = now.steady;
  out.push_back(Extend{std::move(receipts)});
}

void Engine::on(Renewed& input, Now now, std::vector<Effect>&) {
  if (!input.done) {
    renew_at_ = std::min(renew_at_, now.steady + options_.lease / 3 / kTriesPerThird);
    return;
  }
  for (auto& [run, held] : held_) {
    if (!held.lost) held.ours_until = std::max(held.ours_until, sure_until(renewing_since_));
  }
}

void Engine::on(LeasesLost& input, Now now, std::vector<Effect>& out) {
  for (const Receipt& receipt : input.receipts) {
    const auto found = std::find_if(held_.begin(), held_.end(),
                                    [&](const auto& one) { return one.second.arrival.receipt == receipt; });
    if (found != held_.end() && !found->second.acked && !found->second.lost)
      lose(found->first, found->second, now, out);
  }
}

// The broker has handed the message to somebody else, because this process stood still or was cut off for longer than
// the lease. What it does from here on is not wanted, and what it comes to is not stored.
void Engine::lose(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out) {
  const bool settling = held.phase == Phase::acking || held.phase == Phase::committing;
  // Nobody else can have it yet: it was us who settled it, and only the answer was lost.
  if (settling && now.steady < held.ours_until) return;
  held.lost = true;
  leases_lost_ += 1;
  switch (held.phase) {
    case Phase::waiting:
      emit(Emit::What::lease_lost, held, "before it began", out);
      held_.erase(run);
      return;
    case Phase::acking:
      emit(Emit::What::lease_lost, held, "before it was acknowledged; it does not run here", out);
      return;
    case Phase::committing:
      emit(Emit::What::lease_lost, held, "what it came to here came too late and is dropped", out);
      return;
    case Phase::dispatched:
      emit(Emit::What::lease_lost, held, held.begun ? "while it runs; it is told to stop" : "before it began", out);
      if (held.finishing) return;  // only hooks run, and they are short
      held.revoked = "lease lost";
      if (!held.begun) return;  // told when it begins
      held.escalated = Cancel::cooperative;
      out.push_back(Kill{run, held.escalated, held.revoked});
      held.escalate_at = now.steady + kEscalateAfter;
      return;
  }
}

}  // namespace errand::worker
