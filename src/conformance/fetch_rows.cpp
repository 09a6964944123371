// Order, batches, deadlines and waking.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include <algorithm>
#include <array>
#include <thread>

namespace errand::conformance {

namespace {

using Clock = std::chrono::steady_clock;

std::string micros_since(SteadyPoint began) {
  return std::to_string(std::chrono::duration_cast<Microseconds>(Clock::now() - began).count());
}

void arrival_order(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  std::vector<Envelope> batch;
  for (int i = 0; i < 20; ++i) batch.push_back(c.envelope(queue, std::to_string(i)));
  c.broker().publish(batch);
  c.publish(queue, "20");
  auto consumer = c.consumer(queue);
  const auto got = c.take(*consumer, 21);
  for (std::size_t i = 0; i < got.size(); ++i)
    require_equal(std::to_string(i), body(got[i]), "messages come in the order of arrival");
  c.ack(*consumer, got);
}

void urgent_first(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const int urgent = c.traits().low_is_urgent ? 0 : 9;
  std::vector<Envelope> batch;
  for (const auto& [name, priority] :
       {std::pair{"late 1", 9 - urgent}, {"soon 1", urgent}, {"late 2", 9 - urgent}, {"soon 2", urgent}}) {
    batch.push_back(c.envelope(queue, name));
    batch.back().priority = priority;
    batch.back().message.properties.set("priority", priority);
  }
  c.broker().publish(batch);
  auto consumer = c.consumer(queue);
  const auto got = c.take(*consumer, 4);
  const std::array expected{"soon 1", "soon 2", "late 1", "late 2"};
  for (std::size_t i = 0; i < got.size(); ++i)
    require_equal(expected[i], body(got[i]), "the more urgent come first, in the order of arrival");
  c.ack(*consumer, got);
}

void batches(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  std::vector<Envelope> batch;
  for (int i = 0; i < 10; ++i) batch.push_back(c.envelope(queue, std::to_string(i)));
  c.broker().publish(batch);
  auto consumer = c.consumer(queue);
  std::size_t seen = 0;
  std::size_t largest = 0;
  const Deadline deadline = c.soon();
  while (seen < 10 && !deadline.passed()) {
    const auto got = consumer->next(4, deadline);
    require(got.size() <= 4, "next(4) never gives more than four");
    largest = std::max(largest, got.size());
    seen += got.size();
    c.ack(*consumer, got);
  }
  require_equal(10, seen, "all of them come");
  c.note("largest batch " + std::to_string(largest));
}

void empty_at_deadline(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto consumer = c.consumer(queue);
  require(consumer->next(1, Deadline::now()).empty(), "an empty queue gives nothing");
  const SteadyPoint began = Clock::now();
  require(consumer->next(1, Deadline::after(c.kAWhile)).empty(), "an empty queue gives nothing");
  const auto took = Clock::now() - began;
  require(took >= c.kAWhile - Milliseconds{5}, "next() waits until the deadline");
  require(took < c.kAWhile + Milliseconds{2'000}, "next() returns at the deadline");
}

void look_only(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "here");
  auto consumer = c.consumer(queue);
  const auto got = consumer->next(1, Deadline::now());
  require_equal(1, got.size(), "a passed deadline still finds what is there");
  c.ack(*consumer, got);
}

void none_wanted(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "left alone");
  auto consumer = c.consumer(queue);
  require(consumer->next(0, Deadline::after(Milliseconds{50})).empty(), "next(0) takes nothing");
  auto other = c.consumer(queue);
  c.ack(*other, c.take_one(*other));
}

void wake_ends_wait(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto consumer = c.consumer(queue);
  for (const std::size_t max : {std::size_t{1}, std::size_t{0}}) {
    const SteadyPoint began = Clock::now();
    std::thread waker([&] { consumer->wake(); });
    const bool empty = consumer->next(max, c.soon()).empty();
    waker.join();
    require(empty, "a woken next() gives nothing");
    require(Clock::now() - began < Milliseconds{2'000}, "wake() from another thread ends the wait at once");
  }
}

void wake_is_kept(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto consumer = c.consumer(queue);
  for (const std::size_t max : {std::size_t{1}, std::size_t{0}}) {
    consumer->wake();
    const SteadyPoint began = Clock::now();
    require(consumer->next(max, c.soon()).empty(), "a woken next() gives nothing");
    require(Clock::now() - began < Milliseconds{2'000}, "a wake() before next() is not lost");
  }
  c.nothing_comes(*consumer, c.kAWhile, "nothing was sent");
}

void publisher_wakes(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto consumer = c.consumer(queue);
  auto sender = c.another();
  sender->queues();  // connected, so that only the message is timed
  std::vector<std::int64_t> latencies;
  for (int i = 0; i < 9; ++i) {
    SteadyPoint sent;
    std::thread publisher([&] {
      // Lets the consumer reach its wait; if it has not, the row is only easier.
      for (const SteadyPoint until = Clock::now() + Milliseconds{20}; Clock::now() < until;) std::this_thread::yield();
      sent = Clock::now();
      sender->publish(std::vector{c.envelope(queue, "wake up")});
    });
    std::vector<Delivery> got;
    try {
      got = c.take(*consumer, 1);
    } catch (...) {
      publisher.join();
      throw;
    }
    const SteadyPoint came = Clock::now();
    publisher.join();
    latencies.push_back(std::chrono::duration_cast<Microseconds>(came - sent).count());
    c.ack(*consumer, got);
  }
  std::sort(latencies.begin(), latencies.end());
  require(latencies[4] < 1'000'000, "a message sent over another connection is delivered within a second");
  c.note("p50 " + std::to_string(latencies[4]) + " us from before publish() to after next()");
}

void many_at_once(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  constexpr std::size_t kMany = 1'000;
  std::vector<Envelope> batch;
  for (std::size_t i = 0; i < kMany; ++i) batch.push_back(c.envelope(queue, std::to_string(i)));
  const SteadyPoint began = Clock::now();
  c.broker().publish(batch);
  const std::string sent = micros_since(began);
  auto consumer = c.consumer(queue);
  const auto got = c.take(*consumer, kMany);
  require_equal("999", body(got.back()), "the last one sent comes last");
  c.ack(*consumer, got);
  c.note("1000 published in " + sent + " us");
}

constexpr BrokerCheck kRows[] = {
    {"order.arrival", "messages of one priority come in the order of arrival", nullptr, arrival_order},
    {"order.priority", "more urgent messages come first", [](const BrokerTraits& t) { return t.priorities; },
     urgent_first},
    {"fetch.batch", "next(n) gives up to n messages and never more", nullptr, batches},
    {"fetch.deadline", "next() returns at the deadline with nothing", nullptr, empty_at_deadline},
    {"fetch.look", "next() with a passed deadline finds what is there and does not wait", nullptr, look_only},
    {"fetch.none", "next(0) takes nothing", nullptr, none_wanted},
    {"fetch.many", "a thousand messages go in one call and come back whole", nullptr, many_at_once},
    {"wake.thread", "wake() from another thread ends a wait at once", nullptr, wake_ends_wait},
    {"wake.kept", "wake() before next() makes it return at once, and only once", nullptr, wake_is_kept},
    {"wake.publisher", "a publish over another connection wakes a waiting consumer", nullptr, publisher_wakes},
};

}  // namespace

std::span<const BrokerCheck> fetch_rows() { return kRows; }

}  // namespace errand::conformance
