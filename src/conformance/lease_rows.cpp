// Who holds a message: consumers that vanish, leases that run out, and no message twice.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include <atomic>
#include <set>

namespace errand::conformance {

namespace {

void consumer_lost(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  c.publish(queue, "b");
  std::uint64_t token = 0;
  {
    auto first = c.consumer(queue);
    const auto held = c.take(*first, 2);
    token = held[0].receipt.token;
    c.ack(*first, held[1]);
  }
  auto second = c.consumer(queue);
  const Delivery again = c.take_one(*second);
  require_equal("a", body(again), "what was not settled comes back");
  require(again.redelivered, "it is marked redelivered");
  require(again.receipt.token > token, "each delivery has a higher token");
  c.ack(*second, again);
  c.nothing_comes(*second, c.kAWhile, "what was settled does not come back");
}

void waiting_consumer_gets_lost_one(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  auto first = c.consumer(queue);
  c.take_one(*first);
  auto other = c.another();
  auto second = other->consume(c.consume_options({queue}));
  Delivery again;
  at_once({[&] { again = c.take_one(*second); }, [&] { first.reset(); }});
  require(again.redelivered, "a consumer that waits already gets what another left");
  c.ack(*second, again);
}

void never_shared(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  constexpr int kMessages = 600;
  constexpr std::size_t kConsumers = 3;
  std::vector<Envelope> batch;
  for (int i = 0; i < kMessages; ++i) batch.push_back(c.envelope(queue, std::to_string(i)));
  std::vector<std::vector<std::string>> seen(kConsumers);
  std::atomic<std::size_t> total{0};
  std::vector<std::function<void()>> jobs;
  for (std::size_t i = 0; i < kConsumers; ++i) {
    jobs.emplace_back([&, i] {
      auto broker = c.another();
      auto consumer = broker->consume(c.consume_options({queue}));
      const Deadline deadline = c.soon();
      while (total < kMessages && !deadline.passed()) {
        const auto got = consumer->next(7, deadline.earlier(Deadline::after(Milliseconds{100})));
        for (const Delivery& delivery : got) seen[i].push_back(body(delivery));
        total += got.size();
        c.ack(*consumer, got);
      }
    });
  }
  jobs.emplace_back([&] {
    auto broker = c.another();
    for (std::size_t at = 0; at < batch.size(); at += 50) broker->publish(std::span(batch).subspan(at, 50));
  });
  at_once(jobs);
  std::multiset<std::string> all;
  for (const auto& one : seen) all.insert(one.begin(), one.end());
  require_equal(kMessages, std::set<std::string>(all.begin(), all.end()).size(), "every message is delivered");
  require_equal(kMessages, all.size(), "no message is delivered to two consumers");
}

void lease_runs_out(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  auto late = c.consumer(queue, c.kShortLease);
  const Delivery held = c.take_one(*late);
  auto other = c.another();
  auto second = other->consume(c.consume_options({queue}));
  const Delivery again = c.take_one(*second);
  require(again.redelivered, "a message whose lease ran out is marked redelivered");
  require(again.receipt.token > held.receipt.token, "and has a higher token");
  // The late holder wakes up and believes that the message is still its own.
  c.ack(*late, held);
  require_equal(1, late->stale(), "a settlement by the late holder is skipped and counted");
  late->settle(std::vector{c.settle(held, Settlement::Kind::dead_letter)});
  require_equal(2, late->stale(), "a dead letter by the late holder is skipped and counted");
  require_equal(0, c.broker().inspect(queue).dead, "the late holder makes no dead letter");
  late->extend(std::vector{held.receipt}, c.kLongLease);
  require_equal(3, late->stale(), "an extension by the late holder is skipped and counted");
  second->extend(std::vector{again.receipt}, c.kLongLease);
  c.ack(*second, again);
  require_equal(0, second->stale(), "the new holder's settlement counts");
}

void late_settle_in_batch(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  c.publish(queue, "b");
  auto consumer = c.consumer(queue);
  const auto held = c.take(*consumer, 2);
  c.ack(*consumer, held[0]);
  c.ack(*consumer, held);
  require_equal(1, consumer->stale(), "of a batch only what is no longer ours is skipped");
  auto again = c.consumer(queue);
  c.nothing_comes(*again, c.kAWhile, "the rest of the batch was settled");
}

void extend_keeps(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  auto holder = c.consumer(queue, c.kShortLease);
  const Delivery held = c.take_one(*holder);
  auto other = c.another();
  auto second = other->consume(c.consume_options({queue}));
  for (int i = 0; i < 10; ++i) {
    holder->extend(std::vector{held.receipt}, c.kShortLease);
    c.nothing_comes(*second, c.kShortLease / 4, "an extended lease keeps the message");
  }
  c.ack(*holder, held);
  require_equal(0, holder->stale(), "the holder's settlement is in time");
}

void token_grows(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  auto consumer = c.consumer(queue);
  std::uint64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    const Delivery delivery = c.take_one(*consumer);
    require(delivery.receipt.token > last, "the token grows with every delivery of the message");
    last = delivery.receipt.token;
    consumer->settle(std::vector{c.settle(delivery, Settlement::Kind::requeue)});
  }
  c.ack(*consumer, c.take_one(*consumer));
}

void lost_is_told(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  c.publish(queue, "b");
  auto late = c.consumer(queue, c.kShortLease);
  const auto held = c.take(*late, 2);
  require(late->take_lost().empty(), "what is ours is not told as lost");
  auto other = c.another();
  auto second = other->consume(c.consume_options({queue}));
  const auto again = c.take(*second, 2);
  late->extend(std::vector{held[0].receipt, held[1].receipt}, c.kLongLease);
  const std::vector<Receipt> lost = late->take_lost();
  require_equal(2, lost.size(), "an extension finds out what was lost");
  for (const Receipt& receipt : lost) {
    require(receipt == held[0].receipt || receipt == held[1].receipt, "a lost delivery is told by its receipt");
  }
  require(late->take_lost().empty(), "each is told once");
  late->settle(std::vector{c.settle(held[0])});
  require(late->take_lost() == std::vector{held[0].receipt}, "a settlement finds it out as well");
  second->extend(std::vector{again[0].receipt, again[1].receipt}, c.kLongLease);
  c.ack(*second, again);
  require(second->take_lost().empty(), "the new holder has lost nothing");
}

bool leases(const BrokerTraits& traits) { return traits.lease.has_value(); }

constexpr BrokerCheck kRows[] = {
    {"redelivery.consumer-lost", "what a consumer leaves unsettled comes back, marked redelivered", nullptr,
     consumer_lost},
    {"redelivery.to-waiting", "what a consumer leaves goes to one that already waits", nullptr,
     waiting_consumer_gets_lost_one},
    {"exclusive.consumers", "consumers at the same time share the messages and never one message", nullptr,
     never_shared},
    {"exclusive.token", "the token of a message grows with every delivery", nullptr, token_grows},
    {"lease.expiry", "a lease that runs out hands the message over and fences the late holder", leases, lease_runs_out},
    {"lease.stale-in-batch", "a settlement that came too late does not spoil its batch", leases, late_settle_in_batch},
    {"lease.lost", "a consumer is told, once, which of its deliveries are somebody else's by now", leases,
     lost_is_told},
    {"lease.extend", "an extended lease keeps the message", leases, extend_keeps},
};

}  // namespace

std::span<const BrokerCheck> lease_rows() { return kRows; }

}  // namespace errand::conformance
