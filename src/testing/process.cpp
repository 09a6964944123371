#include "testing/process.hpp"

#include "testing/cluster.hpp"

#include <errand/error.hpp>

namespace errand::testing {

namespace {
// Of the steps of one process, during faults.
constexpr double kDies = 0.002, kLosesAnswer = 0.01, kIsSlow = 0.004;
constexpr double kStandsStill = 0.01;        // of the steps that make something safe
constexpr std::uint32_t kMostFailures = 30;  // of one process in one second: more is a busy loop (I13)
}  // namespace

void Process::pause(Nanoseconds time) {
  cluster.world.note(name, "is paused for " + std::to_string(time / Milliseconds{1}) + " ms");
  host->pause_until(std::max(host->paused_until(), cluster.world.now() + time));
  trouble_at = host->paused_until();
}

void Link::travel(bool loaded) {
  Strand* const strand = Strand::current();
  World& world = process_->cluster.world;
  Nanoseconds time{world.random().between(20'000, loaded ? 900'000 : 300'000)};
  if (process_->cluster.faulty(Fault::slow_network) && world.random().chance(kIsSlow)) {
    process_->cluster.inject(Fault::slow_network, process_->name);
    process_->trouble_at = world.now();
    time += Milliseconds{world.random().between(200, 4'500)};
  }
  strand->sleep_until(world.now() + time);
}

void Link::maybe_die(std::string_view operation, std::string_view where) {
  Cluster& cluster = process_->cluster;
  if (!process_->die || !cluster.faulty(Fault::crash_in_step) || !cluster.world.random().chance(kDies)) return;
  cluster.inject(Fault::crash_in_step, process_->name);
  process_->die(std::string(where) + " " + std::string(operation));
  throw Killed{};
}

// On its way to the store with what is to be made safe: it comes when the leases may have ended.
void Link::maybe_stand_still(std::string_view operation, Effect effect) {
  if (effect != Effect::changes || operation == "fetch") return;
  Cluster& cluster = process_->cluster;
  if (process_->inbox == nullptr || !cluster.faulty(Fault::pause) || !cluster.world.random().chance(kStandsStill))
    return;
  cluster.inject(Fault::pause, process_->name);
  const Milliseconds lease = cluster.options.worker.lease;
  process_->pause(Milliseconds{cluster.world.random().between(lease.count() / 2, lease.count() * 3 / 2)});
}

void Link::fail(ErrorKind kind, std::string_view operation, std::string_view detail) {
  Cluster& cluster = process_->cluster;
  const SteadyPoint now = cluster.world.now();
  process_->errors += 1;
  process_->trouble_at = now;
  if (process_->failing_since + std::chrono::seconds(1) <= now) {
    process_->failing_since = now;
    process_->failures_this_second = 0;
  }
  if (++process_->failures_this_second > kMostFailures) {
    cluster.ledger.broken("I13", process_->name + " asks a store that is away more than 30 times in a second");
  }
  throw Error({.kind = kind, .operation = std::string(operation), .detail = std::string(detail)});
}

void Link::before(std::string_view operation, Effect effect) {
  if (Strand::current() == nullptr) return;  // by hand, from outside the world
  if (!process_->alive || Strand::current()->killed()) throw Killed{};
  Cluster& cluster = process_->cluster;
  maybe_die(operation, "before");
  maybe_stand_still(operation, effect);
  travel(true);
  if (!process_->alive) throw Killed{};
  if (cluster.away()) fail(ErrorKind::unavailable, operation, "the store is away");
  if (effect == Effect::changes && cluster.overloaded()) fail(ErrorKind::overloaded, operation, "the store is full");
  const bool lossy = effect == Effect::changes && cluster.options.store != Store::sqlite;
  if (lossy && cluster.faulty(Fault::lost_answer) && cluster.world.random().chance(kLosesAnswer / 2)) {
    cluster.inject(Fault::lost_answer, process_->name);
    fail(ErrorKind::in_doubt, operation, "lost on the way there");
  }
}

void Link::after(std::string_view operation, Effect effect) {
  if (Strand::current() == nullptr) return;
  Cluster& cluster = process_->cluster;
  maybe_die(operation, "after");
  const bool lossy = effect == Effect::changes && cluster.options.store != Store::sqlite;
  if (lossy && cluster.faulty(Fault::lost_answer) && cluster.world.random().chance(kLosesAnswer / 2)) {
    cluster.inject(Fault::lost_answer, process_->name);
    fail(ErrorKind::in_doubt, operation, "lost on the way back");
  }
  travel(false);
  if (!process_->alive) throw Killed{};
}

}  // namespace errand::testing
