// Dead letters: nothing of a message that could not run is lost.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

namespace errand::conformance {

namespace {

void bury(BrokerContext& c, Consumer& consumer, std::string reason, std::string detail) {
  Settlement dead = c.settle(c.take_one(consumer), Settlement::Kind::dead_letter);
  dead.reason = std::move(reason);
  dead.detail = std::move(detail);
  consumer.settle(std::vector{dead});
}

void keeps_everything(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const TimePoint before = c.wall() - std::chrono::seconds{2};
  Envelope sent = c.envelope(queue, std::string("bytes \0\xff\xfe of the body", 21));
  sent.message.content_type = "application/x-errand-check";
  sent.message.content_encoding = "binary";
  c.broker().publish(std::vector{sent});
  auto consumer = c.consumer(queue);
  bury(c, *consumer, "UNKNOWN_TASK", "expected a task that is registered, got 'errand.check'");
  c.nothing_comes(*consumer, c.kAWhile, "a dead letter is not delivered");
  const auto letters = c.broker().dead_letters(queue, 10, "");
  require_equal(1, letters.size(), "the dead letter is listed");
  const DeadLetter& letter = letters[0];
  require(!letter.id.empty(), "it has an id");
  require_equal(queue, letter.queue, "it names its queue");
  require_equal("UNKNOWN_TASK", letter.reason, "it has its reason");
  require_equal("expected a task that is registered, got 'errand.check'", letter.detail, "it has its detail");
  require_equal("errand.check", letter.task, "it names the task");
  require_equal(sent.message.headers.at("id").as_text(), letter.task_id, "it names the task's id");
  require(!letter.raw.empty(), "it has the original bytes");
  require(letter.deliveries >= 1, "it counts deliveries");
  require(letter.last_seen >= before && letter.last_seen <= c.wall() + std::chrono::seconds{2},
          "it knows when it was last seen");
  require(letter.first_seen <= letter.last_seen, "it knows when it was first seen");
  require_equal(1, c.broker().inspect(queue).dead, "inspect() counts it");

  require_equal(1, c.broker().requeue_dead(queue, std::vector{letter.id}), "requeue finds it");
  const Delivery back = c.take_one(*consumer);
  require_equal(sent.message.body, body(back), "requeue restores the same body");
  require_equal(sent.message.content_type, back.message.content_type, "requeue restores the content type");
  require_equal(sent.message.content_encoding, back.message.content_encoding, "requeue restores the content encoding");
  for (const auto& [name, value] : sent.message.headers) {
    const Value* got = back.message.headers.find(name);
    require(got != nullptr && *got == value, "requeue restores header " + name);
  }
  c.ack(*consumer, back);
  require_equal(0, c.broker().dead_letters(queue, 10, "").size(), "it is no dead letter any more");
}

void pages(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto consumer = c.consumer(queue);
  for (int i = 0; i < 5; ++i) {
    c.publish(queue, std::to_string(i));
    bury(c, *consumer, "CHECK_" + std::to_string(i), "");
  }
  std::vector<std::string> reasons;
  std::string after;
  for (int page = 0; page < 5; ++page) {
    const auto letters = c.broker().dead_letters(queue, 2, after);
    require(letters.size() <= 2, "a page has at most as many as asked for");
    if (letters.empty()) break;
    for (const DeadLetter& letter : letters) reasons.push_back(letter.reason);
    after = letters.back().id;
  }
  require_equal(5, reasons.size(), "all pages together have every letter once");
  for (std::size_t i = 0; i < reasons.size(); ++i)
    require_equal("CHECK_" + std::to_string(i), reasons[i], "the oldest come first");
}

void drop(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const std::string other = c.fresh_queue();
  auto consumer = c.consumer(queue);
  for (int i = 0; i < 2; ++i) {
    c.publish(queue, std::to_string(i));
    bury(c, *consumer, "CHECK", "");
  }
  const auto letters = c.broker().dead_letters(queue, 10, "");
  require_equal(2, letters.size(), "both are listed");
  const std::vector<std::string> ids{letters[0].id, "no-such-letter"};
  require_equal(0, c.broker().drop_dead(other, ids), "a letter of another queue is not found");
  require_equal(1, c.broker().drop_dead(queue, ids), "drop tells how many it found");
  require_equal(0, c.broker().drop_dead(queue, ids), "what was dropped is gone");
  require_equal(0, c.broker().requeue_dead(queue, ids), "and cannot be put back");
  require_equal(1, c.broker().dead_letters(queue, 10, "").size(), "the other stays");
  c.nothing_comes(*consumer, c.kAWhile, "nothing dropped is delivered");
}

void outlives_connection(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  {
    auto broker = c.another();
    broker->publish(std::vector{c.envelope(queue, "kept")});
    auto consumer = broker->consume(c.consume_options({queue}));
    bury(c, *consumer, "CHECK", "");
  }
  require_equal(1, c.broker().dead_letters(queue, 10, "").size(), "another connection lists it");
}

// What an earlier delivery came to is no reason not to run a message that an operator has put back.
void new_life(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "again");
  auto consumer = c.consumer(queue);
  const Delivery first = c.take_one(*consumer);
  require(first.life_token <= first.receipt.token, "a first delivery is not older than its message's life");
  Settlement dead = c.settle(first, Settlement::Kind::dead_letter);
  dead.reason = "CHECK";
  consumer->settle(std::vector{dead});
  const auto letters = c.broker().dead_letters(queue, 10, "");
  require_equal(1, c.broker().requeue_dead(queue, std::vector{letters.at(0).id}), "requeue finds it");
  const Delivery second = c.take_one(*consumer);
  require(second.life_token > first.receipt.token, "what was stored before it was put back is of an earlier life");
  require(second.life_token <= second.receipt.token, "what is stored now is of this life");
  consumer->settle(std::vector{c.settle(second, Settlement::Kind::requeue)});
  const Delivery third = c.take_one(*consumer);
  require(third.life_token <= second.receipt.token, "and still is when it is delivered again");
  c.ack(*consumer, third);
}

void limit(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto consumer = c.consumer(queue);
  const std::size_t most = c.traits().max_dead_letters;
  for (std::size_t i = 0; i < most + 2; ++i) c.publish(queue, std::to_string(i));
  for (std::size_t i = 0; i < most + 2; ++i) bury(c, *consumer, "CHECK", "");
  require_equal(most, c.broker().dead_letters(queue, most + 2, "").size(), "there are no more than the limit");
  const QueueInfo info = c.broker().inspect(queue);
  require_equal(most, info.dead, "inspect() counts those");
  require_equal(2, info.parked, "what had no room waits in its queue");
  require_equal(0, info.ready + info.leased, "for a while");
  std::vector<std::string> ids;
  for (const DeadLetter& letter : c.broker().dead_letters(queue, 2, "")) ids.push_back(letter.id);
  require_equal(2, c.broker().drop_dead(queue, ids), "room is made");
  c.publish(queue, "fits");
  bury(c, *consumer, "CHECK", "");
  require_equal(most - 1, c.broker().inspect(queue).dead, "and used");
}

bool limit_is_near(const BrokerTraits& traits) { return traits.max_dead_letters > 2 && traits.max_dead_letters <= 100; }

constexpr BrokerCheck kRows[] = {
    {"dead.complete", "a dead letter keeps bytes, reason, counts and times; requeue restores the same message", nullptr,
     keeps_everything},
    {"dead.pages", "dead letters are listed page by page, oldest first", nullptr, pages},
    {"dead.drop", "drop deletes exactly the letters named", nullptr, drop},
    {"dead.new-life", "a letter that was put back has a new life: earlier outcomes do not count", nullptr, new_life},
    {"dead.limit", "beyond max_dead_letters a message waits in its queue and is not dropped", limit_is_near, limit},
    {"dead.shared", "a dead letter outlives the connection that made it", nullptr, outlives_connection},
};

}  // namespace

std::span<const BrokerCheck> dead_rows() { return kRows; }

}  // namespace errand::conformance
