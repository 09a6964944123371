// Whose a message is: leases, and what becomes of messages whose owner died, forked or never heard the answer.
#include "rig.hpp"

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::redis_test;
using namespace std::chrono_literals;

namespace {

// "b" is left in the queue. Returns the acknowledgement of "a".
std::vector<Settlement> take_a_of_two(Rig& rig, Consumer& reader) {
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  const auto first = reader.next(1, Deadline::after(2s));
  REQUIRE(first.size() == 1);
  return {ack(first[0])};
}

void publish_many(Rig& rig, std::size_t count) {
  std::vector<Envelope> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back(envelope(std::to_string(i)));
  rig.broker.publish(all);
}

}  // namespace

TEST_CASE("F013_a killed worker's messages come back within its heartbeat, counted, in their order, before others") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  REQUIRE(die_holding(rig, 2));
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
  publish_many(rig, kHeld);
  REQUIRE(die_holding(rig, kHeld));
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
  const std::vector done = take_a_of_two(rig, *reader);
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
  const std::vector done = take_a_of_two(rig, *reader);
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

TEST_CASE("F054_however many a dead Python worker left behind, all return at once") {
  Rig rig;
  if (!rig.server.runs()) return;
  constexpr std::size_t kLeft = 250;
  publish_many(rig, kLeft);
  for (std::size_t i = 0; i < kLeft; ++i) rig.take_as_python("1000000000");
  auto reader = rig.consumer("one");
  CHECK(reader->next(500, Deadline::after(10s)).size() == kLeft);
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
