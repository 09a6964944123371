// What may happen to a worker, its server or its neighbours, with a real server.
#include "rig.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace errand;
using namespace errand::redis_test;
using namespace std::chrono_literals;

TEST_CASE("F053_a key that is no list is told, and the other queues go on") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.raw.call({"SET", "q", "something else"});
  try {
    rig.broker.publish(std::vector{envelope("a")});
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::conflict);
  }
  Envelope good = envelope("b");
  good.route.routing_key = "good";
  rig.broker.publish(std::vector{good});
  auto reader = rig.consumer("one", 60s, {"q", "good"});
  auto got = reader->next(5, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  CHECK(id_of(got[0]) == "b");
  CHECK(reader->next(5, Deadline::after(250ms)).empty());
}

TEST_CASE("F048_a storm of resets stops no consumer") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto reader = rig.consumer("one");
  std::set<std::string> seen;
  constexpr int kResets = 100;
  for (int i = 0; i < kResets; ++i) {
    rig.raw.call({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    rig.raw.call({"LPUSH", "q", protocol::encode_envelope(envelope(std::to_string(i)), "tag-" + std::to_string(i))});
    const Deadline limit = Deadline::after(10s);
    while (!seen.contains(std::to_string(i)) && !limit.passed()) {
      try {
        for (const Delivery& delivery : reader->next(5, Deadline::after(2s))) {
          reader->settle(std::vector{ack(delivery)});
          seen.insert(id_of(delivery));
        }
      } catch (const Error& error) {
        CHECK((error.retryable() || error.kind() == ErrorKind::in_doubt));
      }
    }
  }
  CHECK(seen.size() == kResets);
  CHECK(reader->stale() == 0);
}

TEST_CASE("F042_a server that restarts empty is worked with again") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("lost")});
  auto reader = rig.consumer("one");
  const Delivery lost = reader->next(1, Deadline::after(5s))[0];
  rig.server.stop();
  CHECK_THROWS_AS(rig.broker.publish(std::vector{envelope("refused")}), Error);
  rig.server.start();
  rig.broker.publish(std::vector{envelope("a")});
  std::vector<std::string> seen;
  const Deadline limit = Deadline::after(10s);
  while (seen.empty() && !limit.passed()) {
    try {
      for (const Delivery& delivery : reader->next(5, Deadline::after(2s))) {
        seen.push_back(id_of(delivery));
        CHECK(delivery.receipt.token > lost.receipt.token);  // also when the counter was lost
      }
    } catch (const Error& error) {
      CHECK((error.retryable() || error.kind() == ErrorKind::in_doubt));
    }
  }
  CHECK(seen == std::vector<std::string>{"a"});
  reader->settle(std::vector{ack(lost)});
  CHECK(reader->stale() == 1);
}

TEST_CASE("F044_a full server gives out what it has, and takes acknowledgements without results") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a")});
  auto reader = rig.consumer("one");
  rig.raw.call({"CONFIG", "SET", "maxmemory", "1"});
  auto got = reader->next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  reader->settle(std::vector{ack(got[0])});
  CHECK(reader->stale() == 0);
  CHECK(rig.count({"EXISTS", "unacked", "errand:leases"}) == 0);
}

TEST_CASE("F052_a user without a command is told which") {
  testing::RedisServer server({"--user", "poor", "on", ">secret", "~*", "&*", "+@all", "-lpush", "-evalsha"});
  if (!server.runs()) return;
  const std::string url = "redis://poor:secret@127.0.0.1:" + std::to_string(server.port());
  redis::RedisBroker broker(redis::parse_url(url), {});
  CHECK_THROWS_WITH_AS(broker.publish(std::vector{envelope("a")}), doctest::Contains("lpush"), Error);
  CHECK_THROWS_WITH_AS(broker.consume({.queues = {"q"}, .owner = "one"}), doctest::Contains("evalsha"), Error);
}

TEST_CASE("F005_an exchange without a queue for the key is an error, and a copy goes to every queue with its own tag") {
  Rig rig;
  if (!rig.server.runs()) return;
  Envelope event = envelope("a");
  event.route = {"news", "sport.ball"};
  CHECK_THROWS_WITH_AS(rig.broker.publish(std::vector{event}), doctest::Contains("sport.ball"), Error);
  rig.broker.declare({{{"first", "news", "topic", "sport.#"},
                       {"second", "news", "topic", "*.ball"},
                       {"third", "news", "topic", "art.#"}}});
  rig.broker.publish(std::vector{event});
  std::set<std::string> tags;
  for (const char* queue : {"first", "second"}) {
    tags.insert(protocol::read_envelope(rig.raw.call({"RPOP", queue}).text).delivery_tag);
  }
  CHECK(tags.size() == 2);
  CHECK(rig.count({"LLEN", "third"}) == 0);
  const auto members = rig.raw.call({"SMEMBERS", "_kombu.binding.news"});
  CHECK(members.elements.size() == 3);
}

TEST_CASE("an idle consumer asks the server next to nothing") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto reader = rig.consumer("one");
  CHECK(reader->next(1, Deadline::after(50ms)).empty());
  rig.raw.call({"CONFIG", "RESETSTAT"});
  for (int i = 0; i < 20; ++i) CHECK(reader->next(1, Deadline::after(50ms)).empty());
  const std::string stats = rig.raw.call({"INFO", "stats"}).text;
  const std::size_t at = stats.find("total_commands_processed:");
  REQUIRE(at != std::string::npos);
  CHECK(std::stoll(stats.substr(at + 25)) < 20);
}

TEST_CASE("F044_leases are renewed and messages taken back although the server has no memory left") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  auto reader = rig.consumer("one", 2s);
  auto got = reader->next(2, Deadline::after(5s));
  REQUIRE(got.size() == 2);
  rig.raw.call({"CONFIG", "SET", "maxmemory", "1"});
  const std::string before = rig.raw.call({"ZSCORE", "errand:lease-index", got[0].receipt.id}).text;
  reader->extend(std::vector{got[0].receipt}, 60s);
  CHECK(std::stod(rig.raw.call({"ZSCORE", "errand:lease-index", got[0].receipt.id}).text) > std::stod(before) + 5e7);
  reader->settle(std::vector{Settlement{.receipt = got[0].receipt, .kind = Settlement::Kind::requeue}});
  CHECK(reader->stale() == 0);
  CHECK(rig.count({"LLEN", "q"}) == 1);
  // "b" is not renewed: it comes back by its lease's end.
  auto other = rig.consumer("other", 2s);
  std::set<std::string> seen;
  const Deadline limit = Deadline::after(10s);
  while (seen.size() < 2 && !limit.passed()) {
    for (const Delivery& delivery : other->next(2, Deadline::after(1s))) seen.insert(id_of(delivery));
  }
  CHECK(seen.size() == 2);
}

TEST_CASE("F053_parked, held and dead messages survive that their list has become something else") {
  Rig rig;
  if (!rig.server.runs()) return;
  Envelope later = envelope("later");
  later.not_before = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()) - 1s;
  rig.broker.publish(std::vector{envelope("held"), envelope("dead")});
  auto reader = rig.consumer("one", 300ms);
  auto got = reader->next(2, Deadline::after(5s));
  REQUIRE(got.size() == 2);
  const Receipt held = got[0].receipt;
  reader->settle(
      std::vector{Settlement{.receipt = got[1].receipt, .kind = Settlement::Kind::dead_letter, .reason = "TEST"}});
  rig.broker.publish(std::vector{later});
  rig.raw.call({"SET", "q", "something else"});
  const auto letters = rig.broker.dead_letters("q", 10, "");
  REQUIRE(letters.size() == 1);
  CHECK_THROWS_AS(rig.broker.requeue_dead("q", std::vector{letters[0].id}), Error);
  CHECK_THROWS_AS(reader->settle(std::vector{Settlement{.receipt = held, .kind = Settlement::Kind::requeue}}), Error);
  const Deadline while_broken = Deadline::after(1200ms);  // long enough for the lease to end and be swept
  while (!while_broken.passed()) CHECK(reader->next(5, Deadline::after(200ms)).empty());
  rig.raw.call({"DEL", "q"});
  CHECK(rig.broker.requeue_dead("q", std::vector{letters[0].id}) == 1);
  std::set<std::string> seen;
  const Deadline limit = Deadline::after(10s);
  while (seen.size() < 3 && !limit.passed()) {
    for (const Delivery& delivery : reader->next(5, Deadline::after(1s))) seen.insert(id_of(delivery));
  }
  CHECK(seen == std::set<std::string>{"dead", "held", "later"});
}
