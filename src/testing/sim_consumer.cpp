// SimConsumer: how the real consumers wait, fetch and look after leases, over the model.
#include "core/in_time.hpp"
#include "testing/cluster.hpp"

#include <errand/error.hpp>

#include <algorithm>

namespace errand::testing {

namespace {
constexpr Milliseconds kLongestHeartbeat{30'000};
constexpr Milliseconds kSweepEvery{2'000};  // Redis; SQLite looks every second
constexpr Milliseconds kRescueEvery{1'000};
constexpr std::size_t kMostAtOnce = 500;
constexpr Microseconds kLeastWait{100};  // a loop that does not wait must not stop the world's time
}  // namespace

SimConsumer::SimConsumer(std::shared_ptr<Process> process, ConsumeOptions options)
    : link_(process), process_(std::move(process)), options_(std::move(options)) {
  process_->owner = options_.owner;
  link_.call("consume", Effect::reads, [&] { heartbeat(); });
  process_->cluster.consumers.push_back(this);
}

// What was handed out and not settled goes back, as far as the store can be reached.
SimConsumer::~SimConsumer() {
  Cluster& cluster = process_->cluster;
  std::erase(cluster.consumers, this);
  if (!process_->alive || cluster.away()) return;
  cluster.store.bury(options_.owner, Return::consumer_closed);
  cluster.news();
}

// As of the last answer, carried on by the steady clock, which is never wrong here.
Microseconds SimConsumer::clock_ahead() const noexcept {
  return heard_ ? process_->cluster.server_time(*process_) - process_->host->now() : Microseconds{0};
}

void SimConsumer::heartbeat() {
  Cluster& cluster = process_->cluster;
  const Milliseconds life = std::clamp(options_.lease, Milliseconds{100}, kLongestHeartbeat);
  if (cluster.options.store != Store::sqlite)
    cluster.store.heartbeat(options_.owner, cluster.server_time(*process_) + life);
  heartbeat_at_ = cluster.world.now() + life / 3;
}

void SimConsumer::maintain() {
  Cluster& cluster = process_->cluster;
  const SteadyPoint now = cluster.world.now();
  const bool sqlite = cluster.options.store == Store::sqlite;
  if (heartbeat_at_ <= now) heartbeat();
  if (lost_answer_) {
    cluster.store.bury_after(options_.owner, last_token_);
    lost_answer_ = false;
  }
  if (sweep_at_ > now) return;
  sweep_at_ = now + (sqlite ? kRescueEvery : std::clamp(options_.lease / 2, Milliseconds{100}, kSweepEvery));
  bool news = false;
  if (sqlite) {
    for (const std::string& dead : cluster.dead_owners) cluster.store.bury(dead, Return::owner_dead);
    news = !cluster.dead_owners.empty();
    cluster.dead_owners.clear();
  }
  news = cluster.store.sweep(cluster.server_time(*process_)) > 0 || news;
  if (!sqlite) news = cluster.store.restore_foreign(cluster.visibility, cluster.world.wall(), false) > 0 || news;
  if (news) cluster.news();
}

SteadyPoint SimConsumer::next_duty() const {
  return process_->cluster.options.store == Store::sqlite ? sweep_at_ : std::min(heartbeat_at_, sweep_at_);
}

void SimConsumer::wake() noexcept {
  woken_ = true;
  if (const auto strand = waiting_.lock()) strand->ring();
}

void SimConsumer::look() noexcept {
  if (const auto strand = waiting_.lock(); strand && looks_) strand->ring();
}

std::span<Delivery> SimConsumer::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  process_->turns += 1;
  process_->cluster.world.count("input.turn");
  const std::span<Delivery> came = wait(max, deadline.point().value_or(SteadyPoint::max()));
  process_->woke_at = process_->cluster.world.now();
  return came;
}

std::span<Delivery> SimConsumer::wait(std::size_t max, SteadyPoint until) {
  Cluster& cluster = process_->cluster;
  World& world = cluster.world;
  Strand* const strand = Strand::current();
  waiting_ = strand->weak_from_this();
  for (;;) {
    SteadyPoint look_at = until;
    if (max > 0) {
      try {
        deliveries_ = link_.call("fetch", Effect::changes, [&] {
          maintain();
          std::vector<std::string> order = options_.queues;
          std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(rotation_ % order.size()),
                      order.end());
          return cluster.store.claim(options_.owner, order, std::min(max, kMostAtOnce), options_.lease,
                                     cluster.server_time(*process_));
        });
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::in_doubt) throw;
        lost_answer_ = true;
        throw Error({.kind = ErrorKind::unavailable, .operation = "fetch", .detail = "what was taken comes again"});
      }
      heard_ = true;
      if (!deliveries_.empty()) {
        rotation_ += 1;
        for (Delivery& delivery : deliveries_) {
          last_token_ = std::max(last_token_, delivery.receipt.token);
          cluster.mark(delivery);
        }
        return deliveries_;
      }
      look_at = std::min(look_at, next_duty());
      const TimePoint due = cluster.store.next_due(options_.queues);
      if (due != TimePoint::max()) {
        const auto left = std::max(Microseconds{0}, due - cluster.server_time(*process_)) + Microseconds{1};
        look_at = std::min(look_at, world.now() + std::min<Nanoseconds>(left, std::chrono::hours(24)));
      }
    }
    if (std::exchange(woken_, false)) return {};
    if (until <= world.now()) {
      strand->sleep_until(world.now() + kLeastWait);
      return {};
    }
    looks_ = max > 0;
    strand->wait_until(look_at);
    looks_ = false;
    if (!process_->alive) throw Killed{};
    if (std::exchange(woken_, false)) return {};
    if (until <= world.now()) return {};
  }
}

void SimConsumer::settle(std::span<const Settlement> settlements) {
  if (settlements.empty()) return;
  Cluster& cluster = process_->cluster;
  const auto late = link_.call("settle", Effect::changes, [&] { return cluster.settle(*process_, settlements); });
  stale_ += late.size();
  for (const std::uint32_t place : late) lost_.push_back(settlements[place].receipt);
}

void SimConsumer::extend(std::span<const Receipt> receipts, Milliseconds lease) {
  if (receipts.empty()) return;
  Cluster& cluster = process_->cluster;
  cluster.world.count("effect.extend");
  // Renewing twice is harmless, so that a lost answer is only an absence.
  try {
    const auto late = link_.call("extend", Effect::changes, [&] {
      heartbeat();
      return cluster.store.extend(options_.owner, receipts, lease, cluster.server_time(*process_));
    });
    stale_ += late.size();
    for (const std::uint32_t place : late) lost_.push_back(receipts[place]);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::in_doubt) throw;
    throw Error({.kind = ErrorKind::unavailable, .operation = "extend", .detail = error.detail()});
  }
}

bool SimConsumer::commit(const Commit& commit, ResultBackend*) {
  Cluster& cluster = process_->cluster;
  if (cluster.options.store == Store::separate && !commit.results.empty()) return false;
  const auto late = link_.call("commit", Effect::changes, [&] {
    // Follow-ups, results, settlements, in one step; what belongs to a message that is somebody else's is left out.
    const std::vector<std::uint32_t> places = cluster.store.late(options_.owner, commit.settlements);
    cluster.publish(*process_, core::in_time(commit.follow_ups, commit.follow_ups_of, places));
    cluster.put(*process_, core::in_time(commit.results, commit.results_of, places));
    return cluster.settle(*process_, commit.settlements);
  });
  stale_ += late.size();
  for (const std::uint32_t place : late) lost_.push_back(commit.settlements[place].receipt);
  return true;
}

}  // namespace errand::testing
