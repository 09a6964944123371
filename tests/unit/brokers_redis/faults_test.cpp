// What may happen to a worker, its server or its neighbours, with a real server.
#include "brokers/redis/broker.hpp"

#include "protocol/envelope.hpp"
#include "support/redis_server.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace errand;
using namespace std::chrono_literals;

namespace {

Envelope envelope(const std::string& id) {
  Envelope one;
  one.route = {"", "q"};
  one.message.headers = Object{{"id", id}, {"task", "noop"}};
  one.message.body = "body of " + id;
  return one;
}

std::string id_of(const Delivery& delivery) { return delivery.message.headers.at("id").as_text(); }
Settlement ack(const Delivery& delivery) { return {.receipt = delivery.receipt}; }

struct Rig {
  explicit Rig(std::vector<std::string> more = {}, TransportOptions transport = {})
      : server(std::move(more)),
        options(std::move(transport)),
        broker(redis::parse_url(server.url()), options),
        raw(redis::parse_url(server.url())) {}
  std::unique_ptr<Consumer> consumer(const std::string& owner, Milliseconds lease = 60s,
                                     std::vector<std::string> queues = {"q"}) {
    return broker.consume({.queues = std::move(queues), .owner = owner, .lease = lease});
  }
  std::int64_t count(std::initializer_list<std::string_view> command) { return raw.call(command).integer; }
  // Python's way to take a message: three commands.
  std::string take_as_python(const std::string& score) {
    const std::string bytes = raw.call({"RPOP", "q"}).text;
    const std::string tag = protocol::read_envelope(bytes).delivery_tag;
    raw.call({"ZADD", "unacked_index", score, tag});
    raw.call({"HSET", "unacked", tag, "[" + bytes + ", \"\", \"q\"]"});
    return tag;
  }
  testing::RedisServer server;
  TransportOptions options;
  redis::RedisBroker broker;
  redis::Connection raw;
};

// Runs `in_child` in a process of its own, which then dies without a word.
template <class F>
void die_after(F&& in_child) {
  const pid_t child = fork();
  if (child == 0) {
    in_child();
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
}

}  // namespace

TEST_CASE("F013_a killed worker's messages come back within its heartbeat, counted, in their order, before others") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  die_after([&] {
    redis::RedisBroker broker(redis::parse_url(rig.server.url()), {});
    auto reader = broker.consume({.queues = {"q"}, .owner = "dies", .lease = 500ms});
    if (reader->next(5, Deadline::after(5s)).size() != 2) _exit(1);
  });
  rig.broker.publish(std::vector{envelope("c")});
  auto other = rig.consumer("other");
  std::vector<std::string> seen;
  const Deadline limit = Deadline::after(10s);
  while (seen.size() < 3 && !limit.passed()) {
    for (const Delivery& delivery : other->next(1, Deadline::after(1s))) {
      seen.push_back(id_of(delivery));
      CHECK(delivery.deliveries == (id_of(delivery) == "c" ? 1 : 2));
      CHECK(delivery.redelivered == (id_of(delivery) != "c"));
      other->settle(std::vector{ack(delivery)});
      // Held back until the dead one's are there, for "c" could be taken first.
      if (seen.size() == 1 && seen[0] == "c") seen.clear();
    }
  }
  CHECK((seen == std::vector<std::string>{"a", "b", "c"} || seen == std::vector<std::string>{"a", "b"}));
  CHECK(rig.count({"EXISTS", "unacked", "unacked_index", "errand:leases", "errand:lease-index"}) == 0);
}

TEST_CASE("F013_a worker that held thousands when it was killed loses its neighbours no time: all come back at once") {
  Rig rig;
  if (!rig.server.runs()) return;
  constexpr std::size_t kHeld = 2'000;
  std::vector<Envelope> all;
  for (std::size_t i = 0; i < kHeld; ++i) all.push_back(envelope(std::to_string(i)));
  rig.broker.publish(all);
  die_after([&] {
    redis::RedisBroker broker(redis::parse_url(rig.server.url()), {});
    auto reader = broker.consume({.queues = {"q"}, .owner = "dies", .lease = 500ms});
    std::size_t taken = 0;
    while (taken < kHeld) {
      const std::size_t some = reader->next(500, Deadline::after(5s)).size();
      if (some == 0) _exit(1);
      taken += some;
    }
    kill(getpid(), SIGKILL);  // while it still holds them
  });
  auto other = rig.consumer("other");
  std::size_t seen = 0;
  const Deadline limit = Deadline::after(15s);
  while (seen < kHeld && !limit.passed()) {
    std::vector<Settlement> acks;
    for (const Delivery& delivery : other->next(500, Deadline::after(1s))) acks.push_back(ack(delivery));
    other->settle(acks);
    seen += acks.size();
  }
  CHECK(seen == kHeld);
}

TEST_CASE("F012_messages whose answer was lost come again although their owner lives") {
  Rig rig({}, {.publish_timeout = 300ms});
  if (!rig.server.runs()) return;
  auto reader = rig.consumer("one");
  CHECK(reader->next(1, Deadline::now()).empty());
  // The server is stopped while the fetch is on its way: it happens, and nobody hears the answer.
  rig.broker.publish(std::vector{envelope("a")});
  kill(rig.server.pid(), SIGSTOP);
  CHECK_THROWS_AS(reader->next(1, Deadline::after(2s)), Error);
  kill(rig.server.pid(), SIGCONT);
  const Deadline limit = Deadline::after(15s);
  std::vector<Settlement> done;
  while (done.empty() && !limit.passed()) {
    try {
      for (const Delivery& delivery : reader->next(1, Deadline::after(1s))) done.push_back(ack(delivery));
    } catch (const Error& error) {
      CHECK(error.retryable());
    }
  }
  REQUIRE(done.size() == 1);
  reader->settle(done);
  CHECK(reader->stale() == 0);
  CHECK(rig.count({"EXISTS", "unacked", "errand:leases"}) == 0);
}

TEST_CASE("F012_messages that came along with a commit whose answer was lost come again") {
  Rig rig({}, {.publish_timeout = 300ms});
  if (!rig.server.runs()) return;
  auto reader = rig.consumer("one");
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  const auto first = reader->next(1, Deadline::after(2s));
  REQUIRE(first.size() == 1);
  const std::vector done{ack(first[0])};
  kill(rig.server.pid(), SIGSTOP);
  CHECK_THROWS_AS(reader->commit({.settlements = done, .then_fetch = 5}, nullptr), Error);
  kill(rig.server.pid(), SIGCONT);
  const Deadline limit = Deadline::after(15s);
  std::vector<std::string> seen;
  while (seen.empty() && !limit.passed()) {
    try {
      CHECK(reader->commit({.settlements = done}, nullptr));
      for (const Delivery& delivery : reader->next(5, Deadline::after(1s))) {
        seen.push_back(id_of(delivery));
        reader->settle(std::vector{ack(delivery)});
      }
    } catch (const Error& error) {
      CHECK((error.retryable() || error.kind() == ErrorKind::in_doubt));
    }
  }
  CHECK(seen == std::vector<std::string>{"b"});
  CHECK(rig.count({"EXISTS", "unacked", "errand:leases", "q"}) == 0);
}

// What was revoked is asked for before anybody sees the messages; here the question comes after a commit's own answer.
TEST_CASE("a message that comes along with a commit comes with what was revoked meanwhile") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto reader = rig.consumer("one");
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  const auto first = reader->next(1, Deadline::after(2s));
  REQUIRE(first.size() == 1);
  const std::vector done{ack(first[0])};
  rig.broker.revoke(std::vector<std::string>{"b"});
  CHECK(reader->commit({.settlements = done, .then_fetch = 5}, nullptr));
  CHECK(reader->fetched() == 1);
  const auto revoked = reader->take_revoked();
  REQUIRE(revoked.size() == 1);
  CHECK(revoked[0].id == "b");
  const auto second = reader->next(5, Deadline::after(2s));
  REQUIRE(second.size() == 1);
  CHECK(id_of(second[0]) == "b");
  reader->settle(std::vector{ack(second[0])});
}

TEST_CASE("a lease that nobody renews ends although its owner lives") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a")});
  auto idle = rig.consumer("idle", 300ms);
  const Delivery held = idle->next(1, Deadline::after(5s))[0];
  CHECK(idle->next(1, Deadline::after(100ms)).empty());
  auto other = rig.consumer("other", 300ms);
  auto again = other->next(1, Deadline::after(10s));
  REQUIRE(again.size() == 1);
  idle->settle(std::vector{ack(held)});
  CHECK(idle->stale() == 1);
  other->settle(std::vector{ack(again[0])});
  CHECK(other->stale() == 0);
}

TEST_CASE("F049_a Python peer's shorter visibility timeout never sees a message that is alive") {
  Rig rig({}, {.visibility_timeout = 300ms});
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a")});
  auto reader = rig.consumer("one");
  const Delivery held = reader->next(1, Deadline::after(5s))[0];
  const auto score = [&] { return std::stod(rig.raw.call({"ZSCORE", "unacked_index", held.receipt.id}).text); };
  const double first = score();
  const Deadline limit = Deadline::after(10s);
  while (score() < first + 0.6 && !limit.passed()) {
    CHECK(reader->next(1, Deadline::after(50ms)).empty());
    const auto time = rig.raw.call({"TIME"});
    const double now = std::stod(time.elements[0].text) + std::stod(time.elements[1].text) / 1e6;
    CHECK(now - score() < 0.3);
  }
  CHECK_FALSE(limit.passed());
}

TEST_CASE("F054_what a dead Python worker left behind returns by kombu's rule, and its lock is respected") {
  Rig rig({}, {.visibility_timeout = 1s});
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("old"), envelope("young")});
  const std::string old = rig.take_as_python("1000000000");
  const auto time = rig.raw.call({"TIME"});
  rig.take_as_python(std::to_string(std::stoll(time.elements[0].text) + 3600));
  rig.raw.call({"SET", "unacked_mutex", "a Python worker", "PX", "600"});
  auto reader = rig.consumer("one");
  CHECK(reader->next(5, Deadline::now()).empty());
  CHECK(rig.raw.call({"GET", "unacked_mutex"}).text == "a Python worker");
  auto got = reader->next(5, Deadline::after(10s));
  REQUIRE(got.size() == 1);
  CHECK(id_of(got[0]) == "old");
  CHECK(got[0].redelivered);
  CHECK(got[0].deliveries == 2);
  CHECK(rig.count({"EXISTS", "unacked_mutex"}) == 0);
  reader->settle(std::vector{ack(got[0])});
  CHECK(rig.count({"HLEN", "unacked"}) == 1);  // the young one stays with its worker
}

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

TEST_CASE("F011_a forked child of a worker gives nothing back") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a")});
  auto reader = rig.consumer("one");
  const Delivery held = reader->next(1, Deadline::after(5s))[0];
  const pid_t child = fork();
  if (child == 0) {
    reader.reset();
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  CHECK(rig.count({"LLEN", "q"}) == 0);
  reader->settle(std::vector{ack(held)});
  CHECK(reader->stale() == 0);
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
