// Broadcasts: to everybody who listens now; they may be lost, but not on a quiet machine.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include "core/uuid.hpp"

namespace errand::conformance {

namespace {

std::string fresh_exchange() { return "errand-check-exchange-" + core::uuid4(); }

Envelope message(BrokerContext& c, Route route, std::string text) {
  Envelope envelope = c.envelope("", std::move(text));
  envelope.route = std::move(route);
  return envelope;
}

void everybody(BrokerContext& c) {
  const std::string exchange = fresh_exchange();
  c.broker().broadcast(message(c, {exchange, ""}, "too early"));
  auto first = c.broker().subscribe({exchange, ""});
  auto other = c.another();
  auto second = other->subscribe({exchange, ""});
  // A subscription may take effect a moment after the call; what counts is that both hear the same from then on.
  first->next(1, Deadline::after(c.kAWhile));
  second->next(1, Deadline::after(c.kAWhile));
  other->broadcast(message(c, {exchange, ""}, "hello"));
  for (Consumer* consumer : {first.get(), second.get()}) {
    const Delivery delivery = c.take_one(*consumer);
    require_equal("hello", body(delivery), "everybody who listens hears it, and nothing from before");
    require_equal(exchange, delivery.route.exchange, "it tells its exchange");
    c.ack(*consumer, delivery);
  }
  c.nothing_comes(*first, c.kAWhile, "everybody hears it once");
}

void exchanges_apart(BrokerContext& c) {
  const std::string exchange = fresh_exchange();
  auto listener = c.broker().subscribe({exchange, ""});
  listener->next(1, Deadline::after(c.kAWhile));
  c.broker().broadcast(message(c, {fresh_exchange(), ""}, "not for us"));
  c.broker().broadcast(message(c, {exchange, ""}, "for us"));
  require_equal("for us", body(c.take_one(*listener)), "only its own exchange is heard");
}

void patterns(BrokerContext& c) {
  const std::string exchange = fresh_exchange();
  auto all = c.broker().subscribe({exchange, "#"});
  auto tasks = c.broker().subscribe({exchange, "task.#"});
  all->next(1, Deadline::after(c.kAWhile));
  tasks->next(1, Deadline::after(c.kAWhile));
  c.broker().broadcast(message(c, {exchange, "worker.heartbeat"}, "worker"));
  c.broker().broadcast(message(c, {exchange, "task.started"}, "task"));
  require_equal("task", body(c.take_one(*tasks)), "a pattern hears what it matches");
  const auto both = c.take(*all, 2);
  require_equal("worker", body(both[0]), "# hears everything");
  require_equal("task.started", both[1].route.routing_key, "a broadcast tells its routing key");
}

void wakes(BrokerContext& c) {
  const std::string exchange = fresh_exchange();
  auto listener = c.broker().subscribe({exchange, ""});
  listener->wake();
  require(listener->next(1, c.soon()).empty(), "wake() ends a subscriber's wait");
  auto other = c.another();
  Delivery heard;
  at_once({[&] { heard = c.take_one(*listener); },
           [&] {
             other->queues();
             other->broadcast(message(c, {exchange, ""}, "hello"));
           }});
  require_equal("hello", body(heard), "a broadcast wakes who waits");
}

void refused(BrokerContext& c) {
  require_error(ErrorKind::unsupported, "subscribe() says that it cannot", [&] { c.broker().subscribe({"x", ""}); });
  require_error(ErrorKind::unsupported, "broadcast() says that it cannot",
                [&] { c.broker().broadcast(message(c, {"x", ""}, "")); });
}

bool fanout(const BrokerTraits& traits) { return traits.fanout; }

constexpr BrokerCheck kRows[] = {
    {"fanout.everybody", "a broadcast reaches everybody who listens, from then on, once", fanout, everybody},
    {"fanout.exchange", "a subscriber hears only its exchange", fanout, exchanges_apart},
    {"fanout.pattern", "a subscriber hears the routing keys its pattern matches", fanout, patterns},
    {"fanout.wake", "a broadcast and wake() end a subscriber's wait", fanout, wakes},
    {"fanout.unsupported", "a driver without broadcasts says so", [](const BrokerTraits& t) { return !t.fanout; },
     refused},
};

}  // namespace

std::span<const BrokerCheck> fanout_rows() { return kRows; }

}  // namespace errand::conformance
