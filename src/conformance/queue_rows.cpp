// Queues: names, routes, what they hold, and that none starves.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include "core/uuid.hpp"

#include <algorithm>

namespace errand::conformance {

namespace {

void declare_twice(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "kept");
  c.another()->declare(Topology{{QueueSpec{.name = queue, .exchange = "", .routing_key = ""}}});
  const auto names = c.broker().queues();
  require_equal(1, static_cast<std::size_t>(std::count(names.begin(), names.end(), queue)), "the queue is listed once");
  require_equal(1, c.broker().inspect(queue).ready, "declaring it again changes nothing");
}

void undeclared(BrokerContext& c) {
  const std::string queue = "errand-check-" + core::uuid4();
  c.adopt(queue);
  try {
    c.publish(queue, "to nobody yet");
  } catch (const Error& error) {
    require(error.kind() == ErrorKind::not_found, "the refusal says that there is no such queue");
    c.note("refused");
    return;
  }
  auto consumer = c.consumer(queue);
  c.ack(*consumer, c.take_one(*consumer));
  c.note("kept");
}

void odd_names(BrokerContext& c) {
  const std::string unique = core::uuid4();
  std::size_t taken = 0;
  std::size_t refused = 0;
  for (const std::string& name :
       {"check-a.b_c-d-" + unique, "check:with:colons:" + unique, "check/with/slashes@" + unique,
        "check {braces} [brackets] " + unique, "check%27;drop table;--" + unique, "check*?#" + unique,
        "Pr\xc3\xbc"
        "fung-\xe2\x82\xac-" +
            unique,
        std::string(200, 'n') + unique, "check'quote\"" + unique}) {
    c.adopt(name);
    try {
      c.publish(name, name);
    } catch (const Error& error) {
      require(error.kind() == ErrorKind::invalid, "a name that is refused is refused as invalid");
      refused += 1;
      continue;
    }
    auto consumer = c.consumer(name);
    const Delivery delivery = c.take_one(*consumer);
    require_equal(name, body(delivery), "the queue of that name got its own message");
    require_equal(name, delivery.receipt.queue, "the receipt names the queue");
    c.ack(*consumer, delivery);
    taken += 1;
  }
  require(taken >= 4, "names with dots, colons, slashes and blanks are taken");
  c.note(std::to_string(taken) + " taken, " + std::to_string(refused) + " refused");
}

void bad_names(BrokerContext& c) {
  for (const std::string& name : {std::string(), std::string("line\nbreak"), std::string("nul\0byte", 8),
                                  std::string(256, 'n'), std::string("\x1b[2J")}) {
    require_error(ErrorKind::invalid, "a queue name without sense is refused", [&] { c.publish(name, "x"); });
    require_error(ErrorKind::invalid, "a queue name without sense cannot be declared",
                  [&] { c.broker().declare(Topology{{QueueSpec{.name = name, .exchange = "", .routing_key = ""}}}); });
    require_error(ErrorKind::invalid, "a queue name without sense cannot be consumed",
                  [&] { c.broker().consume(c.consume_options({name})); });
  }
  require_error(ErrorKind::invalid, "a consumer needs a queue", [&] { c.broker().consume(c.consume_options({})); });
}

void bound_exchange(BrokerContext& c) {
  const std::string exchange = "errand-check-exchange-" + core::uuid4();
  const std::string queue = "errand-check-" + core::uuid4();
  c.adopt(queue);
  c.broker().declare(Topology{{QueueSpec{.name = queue, .exchange = exchange, .routing_key = "a.key"}}});
  Envelope sent = c.envelope(queue, "routed");
  sent.route = {exchange, "a.key"};
  c.another()->publish(std::vector{sent});
  auto consumer = c.consumer(queue);
  const Delivery delivery = c.take_one(*consumer);
  require_equal("routed", body(delivery), "the message reaches the bound queue");
  require_equal(exchange, delivery.route.exchange, "the delivery tells its exchange");
  require_equal("a.key", delivery.route.routing_key, "the delivery tells its routing key");
  c.ack(*consumer, delivery);
}

void unroutable(BrokerContext& c) {
  const std::string exchange = "errand-check-exchange-" + core::uuid4();
  const std::string queue = "errand-check-" + core::uuid4();
  c.adopt(queue);
  c.broker().declare(Topology{{QueueSpec{.name = queue, .exchange = exchange, .routing_key = "a.key"}}});
  Envelope nowhere = c.envelope(queue, "nowhere");
  nowhere.route = {exchange, "another.key"};
  require_error(ErrorKind::not_found, "a key that no queue is bound to is refused",
                [&] { c.broker().publish(std::vector{c.envelope(queue, "with it"), nowhere}); });
  nowhere.route = {"errand-check-exchange-" + core::uuid4(), "x"};
  require_error(ErrorKind::not_found, "an exchange that nobody declared is refused",
                [&] { c.broker().publish(std::vector{nowhere}); });
  require_equal(0, c.broker().inspect(queue).ready, "nothing of a refused batch was sent");
}

void topic_exchange(BrokerContext& c) {
  const std::string exchange = "errand-check-exchange-" + core::uuid4();
  const std::string all = "errand-check-" + core::uuid4();
  const std::string some = "errand-check-" + core::uuid4();
  c.adopt(all);
  c.adopt(some);
  c.broker().declare(Topology{
      {QueueSpec{.name = all, .exchange = exchange, .exchange_type = "topic", .routing_key = "media.#"},
       QueueSpec{.name = some, .exchange = exchange, .exchange_type = "topic", .routing_key = "media.*.large"}}});
  Envelope large = c.envelope(all, "large");
  large.route = {exchange, "media.image.large"};
  Envelope small = c.envelope(all, "small");
  small.route = {exchange, "media.image.small"};
  c.broker().publish(std::vector{large, small});
  auto first = c.consumer(all);
  const auto both = c.take(*first, 2);
  require_equal("large", body(both[0]), "the wide pattern gets both");
  require_equal("small", body(both[1]), "the wide pattern gets both");
  c.ack(*first, both);
  auto second = c.consumer(some);
  const Delivery one = c.take_one(*second);
  require_equal("large", body(one), "the narrow pattern gets its own");
  c.ack(*second, one);
  c.nothing_comes(*second, c.kAWhile, "and nothing else");
}

void purge(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const std::string other = c.fresh_queue();
  for (int i = 0; i < 5; ++i) c.publish(queue, std::to_string(i));
  c.publish(other, "not ours");
  if (c.traits().parks) {
    Envelope later = c.envelope(queue, "later");
    later.not_before = c.wall() + std::chrono::hours{1};
    c.broker().publish(std::vector{later});
  }
  auto consumer = c.consumer(queue);
  const auto held = c.take(*consumer, 2);
  require_equal(c.traits().parks ? 4 : 3, c.another()->purge(queue), "purge tells how many it deleted");
  const QueueInfo info = c.broker().inspect(queue);
  require_equal(0, info.ready + info.parked, "nothing waits any more");
  c.nothing_comes(*consumer, c.kAWhile, "what was purged does not come");
  consumer->settle(std::vector{c.settle(held[0], Settlement::Kind::requeue), c.settle(held[1])});
  require_equal(0, consumer->stale(), "what was handed out is still its holder's");
  const Delivery again = c.take_one(*consumer);
  require_equal("0", body(again), "and can be put back");
  c.ack(*consumer, again);
  require_equal(1, c.broker().inspect(other).ready, "other queues are left alone");
  require_equal(0, c.broker().purge("errand-check-" + core::uuid4()), "a queue that is not there has nothing to purge");
}

void inspect_counts(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  require_equal(0, c.broker().inspect(queue).ready, "a fresh queue is empty");
  for (int i = 0; i < 4; ++i) c.publish(queue, std::to_string(i));
  if (c.traits().parks) {
    Envelope later = c.envelope(queue, "later");
    later.not_before = c.wall() + std::chrono::hours{1};
    c.broker().publish(std::vector{later});
  }
  auto consumer = c.consumer(queue);
  const auto held = c.take(*consumer, 3);
  consumer->settle(std::vector{c.settle(held[0], Settlement::Kind::dead_letter)});
  const QueueInfo info = c.another()->inspect(queue);
  require_equal(queue, info.name, "it names the queue");
  require_equal(1, info.ready, "what waits");
  require_equal(c.traits().parks ? 1 : 0, info.parked, "what waits for its time");
  require(info.leased == 2 || info.leased == 0, "what is handed out, where the store can tell");
  require_equal(1, info.dead, "dead letters");
  if (info.oldest) require(*info.oldest < Milliseconds{60'000}, "the age of the oldest message is its own");
  c.ack(*consumer, std::span(held).subspan(1));
  require_equal(0, c.broker().inspect("errand-check-" + core::uuid4()).ready,
                "a queue that is not there holds nothing");
}

void fair(BrokerContext& c) {
  const std::string busy = c.fresh_queue();
  const std::string quiet = c.fresh_queue();
  std::vector<Envelope> batch;
  for (int i = 0; i < 100; ++i) batch.push_back(c.envelope(busy, "busy"));
  batch.push_back(c.envelope(quiet, "quiet"));
  c.broker().publish(batch);
  auto consumer = c.broker().consume(c.consume_options({busy, quiet}));
  std::size_t calls = 0;
  for (bool served = false; !served;) {
    calls += 1;
    require(calls <= 4, "a queue with little is served within a few batches beside a queue with much");
    const auto got = consumer->next(5, c.soon());
    require(!got.empty(), "there is something to serve");
    served =
        std::any_of(got.begin(), got.end(), [&](const Delivery& delivery) { return delivery.receipt.queue == quiet; });
    c.ack(*consumer, got);
  }
  c.note("served in batch " + std::to_string(calls) + " of 5");
}

void either_queue_wakes(BrokerContext& c) {
  const std::string one = c.fresh_queue();
  const std::string two = c.fresh_queue();
  auto consumer = c.broker().consume(c.consume_options({one, two}));
  auto sender = c.another();
  for (const std::string& queue : {two, one}) {
    Delivery got;
    at_once({[&] { got = c.take_one(*consumer); }, [&] { sender->publish(std::vector{c.envelope(queue, "x")}); }});
    require_equal(queue, got.receipt.queue, "a message of any of its queues wakes the consumer");
    c.ack(*consumer, got);
  }
}

constexpr BrokerCheck kRows[] = {
    {"queue.declare", "declaring a queue again changes nothing", nullptr, declare_twice},
    {"queue.undeclared", "a message to a queue that nobody declared is kept or refused, never dropped", nullptr,
     undeclared},
    {"queue.odd-names", "queue names with unusual characters are their own queue or refused", nullptr, odd_names},
    {"queue.bad-names", "queue names without sense are refused", nullptr, bad_names},
    {"route.exchange", "a message to an exchange reaches the queue bound to its key", nullptr, bound_exchange},
    {"route.topic", "a topic exchange sends to every queue whose pattern matches", nullptr, topic_exchange},
    {"route.unroutable", "a message that no queue is bound for is refused", nullptr, unroutable},
    {"queue.purge", "purge deletes what waits and leaves what is handed out", nullptr, purge},
    {"queue.inspect", "inspect counts what waits, is parked, handed out and dead", nullptr, inspect_counts},
    {"queue.fair", "a queue with little is served beside a queue with much", nullptr, fair},
    {"queue.several", "a message of any of its queues wakes a consumer", nullptr, either_queue_wakes},
};

}  // namespace

std::span<const BrokerCheck> queue_rows() { return kRows; }

}  // namespace errand::conformance
