// Late holders, Python workers that take over, and a server that forgets: who may write what.
#include "brokers/redis/broker.hpp"
#include "protocol/envelope.hpp"
#include "support/redis_server.hpp"

#include <errand/drivers.hpp>

#include <doctest/doctest.h>

using namespace errand;
using namespace std::chrono_literals;

namespace {

Envelope envelope(const std::string& id) {
  Envelope out;
  out.route = Route{"", "q"};
  out.message.headers = Object{{"task", "t"}, {"id", id}};
  out.message.body = "[[], {}, {}]";
  return out;
}

TaskResult success(const std::string& id, std::uint64_t token) {
  TaskResult result;
  result.id = id;
  result.state = std::string(state::success);
  result.result_json = "1";
  result.token = token;
  return result;
}

struct Rig {
  explicit Rig(TransportOptions transport = {})
      : options(std::move(transport)),
        broker(redis::parse_url(server.url()), options),
        raw(redis::parse_url(server.url())) {}
  std::unique_ptr<Consumer> consumer(const std::string& owner, Milliseconds lease = 60s) {
    return broker.consume({.queues = {"q"}, .owner = owner, .lease = lease});
  }
  std::int64_t count(std::initializer_list<std::string_view> command) { return raw.call(command).integer; }
  // As kombu's restore job does, and then as a Python worker takes it: with the same tag.
  void python_takes_over(const std::string& tag) {
    const std::string stored = raw.call({"HGET", "unacked", tag}).text;
    const protocol::Unacked unacked = protocol::read_unacked(stored);
    raw.call({"HDEL", "unacked", tag});
    raw.call({"HSET", "unacked", tag, "[" + std::string(unacked.envelope) + ", \"q\", \"q\"]"});
    raw.call({"ZADD", "unacked_index", "99999999999", tag});
  }
  testing::RedisServer server;
  TransportOptions options;
  redis::RedisBroker broker;
  redis::Connection raw;
};

}  // namespace

// kombu knows nothing of our leases. While this process stood still Python gave the message back and runs it.
TEST_CASE("F024_a holder that stood still takes nothing back from the Python worker that has its message now") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto results = open_result_backend(rig.server.url());
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  auto late = rig.consumer("late", 300ms);
  const auto got = late->next(2, Deadline::after(5s));
  const std::vector<Delivery> held(got.begin(), got.end());
  REQUIRE(held.size() == 2);
  for (const Delivery& one : held) {
    rig.python_takes_over(one.receipt.id);
    rig.raw.call({"ZADD", "errand:lease-index", "1", one.receipt.id});
  }
  late->extend(std::vector{held[0].receipt}, 60s);
  CHECK(late->take_lost() == std::vector{held[0].receipt});
  const std::vector<TaskResult> outcomes{success("b", held[1].receipt.token)};
  const std::vector<Settlement> settlements{{.receipt = held[1].receipt}};
  const std::vector<std::uint32_t> of{0};
  CHECK(late->commit({{}, outcomes, settlements, {}, of}, results.get()));
  CHECK(late->take_lost() == std::vector{held[1].receipt});
  CHECK_FALSE(results->get("b").has_value());
  // Nor does the next look for ended leases, its own or another's.
  auto other = rig.consumer("other", 300ms);
  CHECK(other->next(2, Deadline::after(1500ms)).empty());
  CHECK(rig.count({"HLEN", "unacked"}) == 2);
  CHECK(rig.count({"LLEN", "q"}) == 0);
  CHECK(rig.count({"HLEN", "errand:leases"}) == 0);
}

TEST_CASE("a lease ends with the visibility timeout of Python's workers when that is shorter") {
  Rig rig({.visibility_timeout = 1s});
  if (!rig.server.runs()) return;
  rig.broker.publish(std::vector{envelope("a")});
  auto holder = rig.consumer("holder", 60s);
  REQUIRE(holder->next(1, Deadline::after(5s)).size() == 1);
  const auto time = rig.raw.call({"TIME"});
  const auto left =
      std::stod(rig.raw.call({"ZRANGE", "errand:lease-index", "0", "0", "WITHSCORES"}).elements.at(1).text) / 1e6 -
      std::stod(time.elements.at(0).text);
  CHECK(left < 2.1);
}

TEST_CASE("F042_what a task came to is stored although the server has lost its message") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto results = open_result_backend(rig.server.url());
  rig.broker.publish(std::vector{envelope("a"), envelope("b")});
  auto reader = rig.consumer("one");
  const auto got = reader->next(2, Deadline::after(5s));
  const std::vector<Delivery> held(got.begin(), got.end());
  REQUIRE(held.size() == 2);
  rig.raw.call({"FLUSHALL"});
  const std::vector<std::uint32_t> of{0};
  const auto commit = [&](const Delivery& one, const std::string& id) {
    const std::vector<TaskResult> outcomes{success(id, one.receipt.token)};
    const std::vector<Settlement> settlements{{.receipt = one.receipt}};
    const std::vector<Envelope> follow_ups{envelope("follows-" + id)};
    CHECK(reader->commit({follow_ups, outcomes, settlements, of, of}, results.get()));
  };
  commit(held[0], "a");  // before anything else is asked
  reader->extend(std::vector{held[1].receipt}, 60s);
  CHECK(reader->take_lost() == std::vector{held[0].receipt});  // nobody has the other
  commit(held[1], "b");                                        // after the loss was noticed
  CHECK(results->get("a").has_value());
  CHECK(results->get("b").has_value());
  CHECK(rig.count({"LLEN", "q"}) == 2);
}

TEST_CASE("revoked ids are kept for a time, in order, and only the newest") {
  Rig rig({.revoke_expires = 10min});
  if (!rig.server.runs()) return;
  std::vector<TaskId> ids;
  for (int i = 0; i < 3; ++i) ids.push_back("t" + std::to_string(i));
  rig.broker.revoke(ids);
  rig.broker.revoke(ids);  // another worker that heard the same broadcast
  CHECK(rig.count({"ZCARD", "errand:revoked"}) == 3);
  CHECK(rig.count({"PTTL", "errand:revoked"}) > 590'000);
  rig.raw.call({"ZADD", "errand:revoked", "1", "t0"});
  rig.broker.revoke(std::vector<TaskId>{"t3"});
  CHECK(rig.count({"ZCARD", "errand:revoked"}) == 3);
  CHECK(rig.raw.call({"ZRANGE", "errand:revoked", "0", "-1"}).elements.back().text == "t3");
  auto consumer = rig.consumer("one");
  CHECK(consumer->next(1, Deadline::after(50ms)).empty());
  CHECK(consumer->take_revoked().size() == 3);
  CHECK(consumer->next(1, Deadline::after(50ms)).empty());
  CHECK(consumer->take_revoked().empty());
}

// Restoring is one step back to the list it came from, whatever is bound by then.
TEST_CASE("F054_what a dead worker held returns to its queue although the binding is gone") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker.declare(Topology{{QueueSpec{"q", "tasks", "direct", "key"}}});
  Envelope bound = envelope("a");
  bound.route = Route{"tasks", "key"};
  rig.broker.publish(std::vector{bound});
  auto dead = rig.consumer("dead");
  REQUIRE(dead->next(1, Deadline::after(5s)).size() == 1);
  rig.raw.call({"DEL", "_kombu.binding.tasks"});
  rig.raw.call({"ZADD", "errand:owners", "1", "dead"});  // its heartbeat has run out
  auto other = rig.consumer("other");
  const auto again = other->next(1, Deadline::after(10s));
  REQUIRE(again.size() == 1);
  CHECK(again[0].redelivered);
  CHECK(again[0].route == Route{"tasks", "key"});
  other->settle(std::vector<Settlement>{{.receipt = again[0].receipt}});
  CHECK(rig.count({"EXISTS", "unacked", "unacked_index", "errand:leases", "errand:lease-index"}) == 0);
}
