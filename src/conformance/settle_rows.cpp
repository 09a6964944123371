// What becomes of a delivery: acknowledged, put back, parked.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include <array>

namespace errand::conformance {

namespace {

void ack_forgets(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "done");
  {
    auto consumer = c.consumer(queue);
    c.ack(*consumer, c.take_one(*consumer));
    require_equal(0, consumer->stale(), "an acknowledgement in time is not late");
  }
  auto again = c.consumer(queue);
  c.nothing_comes(*again, c.kAWhile, "an acknowledged message never comes again");
  const QueueInfo info = c.broker().inspect(queue);
  require_equal(0, info.ready + info.parked + info.leased, "an acknowledged message is gone");
}

void requeue_in_front(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  for (const char* name : {"first", "second", "third"}) c.publish(queue, name);
  auto consumer = c.consumer(queue);
  const Delivery first = c.take_one(*consumer);
  require(!first.redelivered, "a first delivery is not marked redelivered");
  consumer->settle(std::vector{c.settle(first, Settlement::Kind::requeue)});
  const Delivery again = c.take_one(*consumer);
  require_equal("first", body(again), "what was put back is the next to come");
  require(again.redelivered, "what was put back is marked redelivered");
  require(again.receipt.token > first.receipt.token, "each delivery has a higher token");
  require(again.message.headers == first.message.headers, "what was put back has its headers");
  c.ack(*consumer, again);
  const auto rest = c.take(*consumer, 2);
  require_equal("second", body(rest[0]), "the others keep their order");
  c.ack(*consumer, rest);
}

void requeue_batch(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const std::array names{"1", "2", "3", "4"};
  for (const char* name : names) c.publish(queue, name);
  auto consumer = c.consumer(queue);
  const auto held = c.take(*consumer, 3);
  std::vector<Settlement> back;
  for (const Delivery& delivery : held) back.push_back(c.settle(delivery, Settlement::Kind::requeue));
  consumer->settle(back);
  const auto again = c.take(*consumer, 4);
  for (std::size_t i = 0; i < names.size(); ++i)
    require_equal(names[i], body(again[i]), "a batch that was put back keeps its order");
  c.ack(*consumer, again);
}

// A deploy gives back what has not begun, and so does a worker without room. Neither is the message's fault.
void requeue_counts_not(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "again");
  auto consumer = c.consumer(queue);
  for (int i = 0; i < 10; ++i) {
    const Delivery delivery = c.take_one(*consumer);
    require(delivery.deliveries <= 2, "giving back does not count as a delivery");
    require(delivery.redelivered == (i > 0), "but the next one is marked redelivered");
    consumer->settle(std::vector{c.settle(delivery, Settlement::Kind::requeue)});
  }
  c.ack(*consumer, c.take_one(*consumer));
}

void requeue_elsewhere(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "yours");
  auto first = c.consumer(queue);
  auto other_broker = c.another();
  auto second = other_broker->consume(c.consume_options({queue}));
  const Delivery held = c.take_one(*first);
  first->settle(std::vector{c.settle(held, Settlement::Kind::requeue)});
  c.ack(*second, c.take_one(*second));
}

void check_due(BrokerContext& c, Consumer& consumer, TimePoint due, std::string_view what) {
  const Delivery delivery = c.take_one(consumer);
  const TimePoint now = c.wall();
  require_equal("later", body(delivery), what);
  require(now >= due, "a parked message does not come before its time");
  require(now < due + Milliseconds{2'000}, "a parked message comes within two seconds of its time");
  c.note("came " + std::to_string(std::chrono::duration_cast<Microseconds>(now - due).count()) + " us after its time");
  BrokerContext::ack(consumer, delivery);
}

void park_waits(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "later");
  auto consumer = c.consumer(queue);
  const Delivery held = c.take_one(*consumer);
  const TimePoint due = c.wall() + Milliseconds{400};
  Settlement park = c.settle(held, Settlement::Kind::park);
  park.not_before = due;
  consumer->settle(std::vector{park});
  c.nothing_comes(*consumer, c.kAWhile, "a parked message does not come before its time");
  require_equal(1, c.broker().inspect(queue).parked, "inspect() counts it as parked");
  check_due(c, *consumer, due, "the parked message comes");
}

// What has not begun (an ETA, a rate limit) may wait as often as it likes. What ran and wants to run elsewhere may not.
void park_counts_what_began(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "not now");
  auto consumer = c.consumer(queue);
  std::uint32_t counted = 0;
  for (const bool begun : {false, false, true, true, false}) {
    const Delivery delivery = c.take_one(*consumer);
    require_equal(counted + 1, delivery.deliveries, "a parked delivery counts when its task had begun");
    require(delivery.redelivered == (counted > 0), "and the next one is a redelivery then");
    Settlement park = c.settle(delivery, Settlement::Kind::park);
    park.not_before = c.wall();
    park.begun = begun;
    consumer->settle(std::vector{park});
    counted += begun;
  }
  c.ack(*consumer, c.take_one(*consumer));
}

void park_survives_holder(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "later");
  const TimePoint due = c.wall() + Milliseconds{400};
  {
    auto consumer = c.consumer(queue);
    Settlement park = c.settle(c.take_one(*consumer), Settlement::Kind::park);
    park.not_before = due;
    consumer->settle(std::vector{park});
  }
  auto other = c.consumer(queue);
  check_due(c, *other, due, "a message parked by a consumer that went away comes to another");
}

void envelope_not_before(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  Envelope later = c.envelope(queue, "later");
  const TimePoint due = c.wall() + Milliseconds{400};
  later.not_before = due;
  auto consumer = c.consumer(queue);
  c.broker().publish(std::vector{later, c.envelope(queue, "now")});
  const Delivery now = c.take_one(*consumer);
  require_equal("now", body(now), "what is due overtakes what is not");
  c.ack(*consumer, now);
  check_due(c, *consumer, due, "the message with a time comes");
}

void not_before_past(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  Envelope late = c.envelope(queue, "past");
  late.not_before = c.wall() - std::chrono::hours{24};
  c.broker().publish(std::vector{late});
  auto consumer = c.consumer(queue);
  c.ack(*consumer, c.take_one(*consumer));
}

void parked_in_order_of_time(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const TimePoint now = c.wall();
  std::vector<Envelope> batch;
  for (const auto& [name, after] : {std::pair{"third", 450}, {"first", 150}, {"second", 300}}) {
    batch.push_back(c.envelope(queue, name));
    batch.back().not_before = now + Milliseconds{after};
  }
  c.broker().publish(batch);
  auto consumer = c.consumer(queue);
  for (const char* name : {"first", "second", "third"}) {
    const Delivery delivery = c.take_one(*consumer);
    require_equal(name, body(delivery), "parked messages come in the order of their times");
    c.ack(*consumer, delivery);
  }
}

bool parks(const BrokerTraits& traits) { return traits.parks; }

constexpr BrokerCheck kRows[] = {
    {"settle.ack", "an acknowledged message is forgotten", nullptr, ack_forgets},
    {"settle.requeue", "a message that is put back is the next to come, marked redelivered, with a higher token",
     nullptr, requeue_in_front},
    {"settle.requeue-batch", "a batch that is put back keeps its order", nullptr, requeue_batch},
    {"settle.requeue-uncounted", "a message that is put back again and again has not been delivered more often",
     nullptr, requeue_counts_not},
    {"settle.requeue-elsewhere", "a message that is put back wakes a consumer of another connection", nullptr,
     requeue_elsewhere},
    {"park.settle", "a parked message comes when it is due and not before", parks, park_waits},
    {"park.counts", "a parked delivery counts when its task had begun, and only then", parks, park_counts_what_began},
    {"park.holder-gone", "a parked message outlives the consumer that parked it", parks, park_survives_holder},
    {"park.envelope", "a message sent with a time comes when it is due and not before", parks, envelope_not_before},
    {"park.past", "a message sent with a time in the past comes at once", parks, not_before_past},
    {"park.order", "parked messages come in the order of their times", parks, parked_in_order_of_time},
};

}  // namespace

std::span<const BrokerCheck> settle_rows() { return kRows; }

}  // namespace errand::conformance
