// The loop itself: what it does between a commit and the next wait.
#include "worker/loop.hpp"

#include <errand/drivers.hpp>
#include <errand/task.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>

using namespace errand;
using namespace errand::worker;
using namespace std::chrono_literals;

namespace {

constexpr Task<std::int64_t()> one{"one"};

// Hands out the next message when the last is settled, takes the hint of a commit, and writes down what becomes of
// each.
class HintedConsumer final : public Consumer {
 public:
  std::span<Delivery> next(std::size_t max, Deadline) override {
    deliveries_.clear();
    if (ahead_.empty() && held_ == 0) take(max);
    deliveries_.swap(ahead_);
    held_ += deliveries_.size();
    told += deliveries_.empty() ? "wait " : "next ";
    return deliveries_;
  }
  void settle(std::span<const Settlement>) override {}
  void extend(std::span<const Receipt>, Milliseconds) override {}
  void wake() noexcept override {}
  bool commit(const Commit& commit, ResultBackend*) override {
    for (const Settlement& one_of_them : commit.settlements) {
      told += one_of_them.kind == Settlement::Kind::ack ? "ack " : "requeue ";
      told += one_of_them.receipt.id + " ";
      held_ -= 1;
    }
    for (const Envelope& next : commit.follow_ups) due = next.not_before;
    take(commit.then_fetch);
    return true;
  }
  std::size_t fetched() const noexcept override { return ahead_.size(); }
  std::vector<RevokedTask> take_revoked() override {
    const bool comes_now = !revoked.empty() && !deliveries_.empty() && deliveries_[0].receipt.id == revoked[0].id;
    return comes_now ? std::exchange(revoked, {}) : std::vector<RevokedTask>{};
  }

  void add(const std::string& id) {
    Delivery& delivery = waiting_.emplace_back();
    delivery.receipt = {id, ++token_, "q"};
    delivery.route = {"", "q"};
    delivery.message.headers = Object{{"task", "one"}, {"id", id}, {"retries", 0}};
    delivery.message.body = "[[], {}, {}]";
  }

  std::string told;
  std::optional<TimePoint> due;      // of the last follow-up
  std::vector<RevokedTask> revoked;  // known with the first one's message

 private:
  void take(std::size_t max) {
    for (; max > 0 && !waiting_.empty(); --max) {
      ahead_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  std::deque<Delivery> waiting_;
  std::vector<Delivery> deliveries_, ahead_;
  std::uint64_t token_ = 0;
  std::size_t held_ = 0;
};

// One at a time, done as soon as it is begun.
class InstantPool final : public Pool {
 public:
  std::string_view name() const noexcept override { return "instant"; }
  void start(const Registry&, PoolSink& sink) override { sink_ = &sink; }
  std::size_t free_slots() const noexcept override { return 1; }
  void run(std::span<Execution> executions) override {
    for (const Execution& execution : executions) {
      ran += execution.id + " ";
      Outcome outcome;
      outcome.run = execution.run;
      sink_->finished(std::move(outcome));
    }
  }
  void cancel(std::uint64_t, Cancel, std::string_view) override {}
  std::vector<std::uint64_t> reclaim() override { return {}; }
  void stop(Deadline) override {}
  std::vector<int> processes() const override { return {}; }

  std::string ran;

 private:
  PoolSink* sink_ = nullptr;
};

// Ends the task when it is told to, as a failed attempt that is to run again.
class RetryingPool final : public Pool {
 public:
  std::string_view name() const noexcept override { return "retrying"; }
  void start(const Registry&, PoolSink& sink) override { sink_ = &sink; }
  std::size_t free_slots() const noexcept override { return 1; }
  void run(std::span<Execution> executions) override { running_ = executions[0].run; }
  void cancel(std::uint64_t, Cancel, std::string_view) override {}
  std::vector<std::uint64_t> reclaim() override { return {}; }
  void stop(Deadline) override {}
  std::vector<int> processes() const override { return {}; }

  bool end(Milliseconds wait) {
    if (running_ == 0) return false;
    Outcome outcome;
    outcome.run = std::exchange(running_, 0);
    outcome.kind = Outcome::Kind::retry;
    outcome.wait = wait;
    sink_->finished(std::move(outcome));
    return true;
  }

 private:
  PoolSink* sink_ = nullptr;
  std::uint64_t running_ = 0;
};

// Its reader is held up after every reading, and things happen meanwhile.
class SlowReadClock final : public Clock {
 public:
  TimePoint now() const override {
    const TimePoint read = now_;
    now_ += 5ms;
    if (meanwhile) meanwhile(now_);
    return read;
  }
  SteadyPoint steady() const override { return SteadyPoint{now_.time_since_epoch()}; }

  std::function<void(TimePoint)> meanwhile;

 private:
  mutable TimePoint now_{1'000'000s};
};

struct Rig {
  int run(std::size_t stop_after) { return run(stop_after, pool, SystemClock()); }

  int run(std::size_t stop_after, Pool& with, const Clock& clock) {
    registry.add(one, [] { return std::int64_t{1}; });
    const std::unique_ptr<Broker> broker = open_broker("memory://loop-test");
    Inbox inbox;
    InboxSink sink(inbox);
    with.start(registry, sink);
    Engine engine(EngineOptions{.has_results = false}, registry);
    const Systemd systemd;
    Loop loop({.stop_after = stop_after, .queues = {"q"}}, engine, *broker, consumer, nullptr, with, inbox, systemd,
              clock);
    return loop.run();
  }
  Registry registry;
  HintedConsumer consumer;
  InstantPool pool;
};

}  // namespace

TEST_CASE("while there is work, the loop takes the next batch from the commit of the last") {
  Rig rig;
  for (const char* id : {"a", "b", "c"}) rig.consumer.add(id);
  CHECK(rig.run(3) == 0);
  CHECK(rig.pool.ran == "a b c ");
  CHECK(rig.consumer.told == "next wait ack a next wait ack b next wait ack c ");
}

// It would otherwise leave with the consumer, held until its lease ends or counted as a delivery.
TEST_CASE("a stop gives back at once what the last commit has fetched") {
  Rig rig;
  for (const char* id : {"a", "b"}) rig.consumer.add(id);
  CHECK(rig.run(1) == 0);
  CHECK(rig.pool.ran == "a ");
  CHECK(rig.consumer.told == "next wait ack a next requeue b ");
}

TEST_CASE("a task that comes along with a commit does not run when it was revoked meanwhile") {
  Rig rig;
  for (const char* id : {"a", "b"}) rig.consumer.add(id);
  rig.consumer.revoked = {{"b", 60s}};
  CHECK(rig.run(2) == 0);
  CHECK(rig.pool.ran == "a ");
}

TEST_CASE("a retry is never due before its wait is over, also when the task ends while the loop reads the clock") {
  Rig rig;
  rig.consumer.add("a");
  RetryingPool pool;
  SlowReadClock clock;
  std::optional<TimePoint> ended;
  clock.meanwhile = [&](TimePoint now) {
    if (pool.end(30ms)) ended = now;
  };
  CHECK(rig.run(1, pool, clock) == 0);
  REQUIRE(ended);
  REQUIRE(rig.consumer.due);
  CHECK(*rig.consumer.due >= *ended + 30ms);
}
