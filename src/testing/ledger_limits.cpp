// Ledger, third part: limits, looked at when a message is handed out and when its task is handed to a pool.
#include "testing/cluster.hpp"

#include <algorithm>

namespace errand::testing {

namespace {
// How long the answer to a fetch may have been on its way: a worker counts its lease from when it came.
constexpr Milliseconds kAnswerTakes{5'000};
constexpr std::size_t kMostDeliveries = 10;  // of one message in a second (F063)
}  // namespace

void Ledger::check_dispatch(Process& process, const Execution& execution, const Claim& claim, const Life& one) {
  // Its clock told it that the lease may be over, whatever kept it from renewing it. In a file leases go by the wall
  // clock, which the nemesis moves; trouble_at lies in the future then.
  const auto over = over_.find(claim);
  if (over != over_.end() && over->second + kAnswerTakes < process.woke_at &&
      process.trouble_at <= cluster_.world.now())
    broken("I12", execution.id + " was handed to the pool of " + process.name + " long after its lease had ended");
  const auto item = cluster_.store.items().find(claim.first);
  const std::uint32_t most = cluster_.options.worker.max_deliveries;
  if (item != cluster_.store.items().end() && item->second.token == claim.second && item->second.deliveries > most) {
    broken("F063", execution.id + " runs after its delivery number " + std::to_string(item->second.deliveries) +
                       ", allowed are " + std::to_string(most));
  }
  check_rate(process, execution, one);
}

// Starts lie on a grid of the limit's interval, each late by less than one of them (RateGate): four of them take two.
void Ledger::check_rate(const Process& process, const Execution& execution, const Life& one) {
  const TaskDefinition* task = cluster_.registry.find(execution.task);
  if (task == nullptr || task->options.rate_limit.tasks <= 0 || one.early) return;
  const RateLimit& limit = task->options.rate_limit;
  const auto interval = std::chrono::duration<double>(limit.per) / limit.tasks;
  std::vector<SteadyPoint>& starts = started_[{process.name, execution.task}];
  starts.push_back(cluster_.world.now());
  if (starts.size() < 4) return;
  const std::chrono::duration<double> took = starts.back() - starts[starts.size() - 4];
  if (took < 2 * interval - std::chrono::milliseconds(1)) {
    broken("I22", "four of " + execution.task + " were started within " + std::to_string(took.count()) +
                      " s, its rate limit says one each " + std::to_string(interval.count()));
  }
}

void Ledger::check_pace(const Item& item) {
  std::vector<SteadyPoint>& times = pace_[item.number];
  const SteadyPoint now = cluster_.world.now();
  std::erase_if(times, [&](SteadyPoint at) { return at + std::chrono::seconds(1) < now; });
  times.push_back(now);
  if (times.size() > kMostDeliveries)
    broken("F063", item.task_id + " was delivered " + std::to_string(times.size()) + " times within a second");
}

// What a worker holds is bounded by its prefetch, or by what its pool takes and what it has still to settle.
void Ledger::check_held(const Process& process, const Item& item) {
  const WorkerOptions& worker = cluster_.options.worker;
  const std::size_t most =
      worker.prefetch_multiplier > 0 ? worker.prefetch_multiplier * worker.concurrency : 16 + 8 * worker.concurrency;
  std::size_t held = 0;
  for (const auto& [number, other] : cluster_.store.items())
    held += other.state == Item::State::leased && other.owner == item.owner;
  if (held > most) {
    broken("I13", process.name + " holds " + std::to_string(held) + " messages, its limit are " + std::to_string(most));
  }
}

void Ledger::gone(const Process& process) {
  std::erase_if(owed_, [&](const auto& task) {
    if (task.second != process.owner) return false;
    return life(task.first).may_be_lost = true;
  });
}

}  // namespace errand::testing
