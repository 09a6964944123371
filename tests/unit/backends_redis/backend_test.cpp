// Results as Python finds them. The promises to our own callers are in the conformance table.
#include "backends/redis/backend.hpp"

#include "support/redis_server.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <thread>

using namespace errand;
using namespace std::chrono_literals;

namespace {

struct Rig {
  explicit Rig(TransportOptions options = {})
      : backend(redis::parse_url(server.url()), options), raw(redis::parse_url(server.url())) {}
  testing::RedisServer server;
  redis::RedisBackend backend;
  redis::Connection raw;
};

TaskResult result(const std::string& id, const std::string& state, const std::string& json, std::uint64_t token = 0) {
  TaskResult one;
  one.id = id;
  one.state = state;
  one.result_json = json;
  one.token = token;
  if (state::ready(state)) one.done_at = TimePoint{std::chrono::seconds{1'795'326'346}};
  return one;
}

}  // namespace

TEST_CASE("a record is stored under Celery's key, with its time to live, and published as it is stored") {
  Rig rig;
  if (!rig.server.runs()) return;
  redis::Connection listener(redis::parse_url(rig.server.url()));
  listener.call({"SUBSCRIBE", "celery-task-meta-1"});
  rig.backend.put(std::vector{result("1", "SUCCESS", "5", 7)});
  const std::string stored = rig.raw.call({"GET", "celery-task-meta-1"}).text;
  CHECK(stored.starts_with(R"({"status": "SUCCESS", "result": 5, "traceback": null, "children": [])"));
  CHECK(rig.raw.call({"TTL", "celery-task-meta-1"}).integer == 86'400);
  REQUIRE(listener.wait(Deadline::after(5s), -1));
  const auto message = listener.arrived();
  REQUIRE(message);
  CHECK(message->elements.at(2).text == stored);
  // What Python's json does not look at.
  CHECK_NOTHROW(parse_json(stored));
  CHECK(rig.backend.get("1")->token == 7);
}

TEST_CASE("F024_an older delivery never replaces a newer one's record, and Python's own records count as older") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.raw.call({"SET", "celery-task-meta-1", R"({"status": "STARTED", "result": null, "task_id": "1"})"});
  rig.backend.put(
      std::vector{result("1", "FAILURE", R"({"exc_type": "E", "exc_message": [], "exc_module": "m"})", 20)});
  CHECK(rig.backend.get("1")->state == "FAILURE");
  rig.backend.put(std::vector{result("1", "STARTED", "null", 19)});
  CHECK(rig.backend.get("1")->state == "FAILURE");
  rig.backend.put(std::vector{result("1", "SUCCESS", "1", 21)});
  rig.backend.put(std::vector{result("1", "FAILURE", "null", 22)});
  CHECK(rig.backend.get("1")->state == "SUCCESS");
}

TEST_CASE("a SUCCESS of any writer stays, and a result that only looks like one does not") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.raw.call({"SET", "celery-task-meta-1", R"({"task_id":"1","result":2,"status":"SUCCESS"})"});
  rig.backend.put(std::vector{result("1", "FAILURE", "null")});
  CHECK(rig.backend.get("1")->state == "SUCCESS");
  rig.backend.put(std::vector{result("2", "PROGRESS", R"({"status": "SUCCESS"})")});
  rig.backend.put(std::vector{result("2", "FAILURE", "null")});
  CHECK(rig.backend.get("2")->state == "FAILURE");
  rig.raw.call({"SET", "celery-task-meta-3", "damaged"});
  CHECK_THROWS_AS(rig.backend.get("3"), Error);
  rig.backend.put(std::vector{result("3", "FAILURE", "null")});
  CHECK(rig.backend.get("3")->state == "FAILURE");
}

TEST_CASE("a prefix gets Celery's underscore, and 0 keeps results for ever") {
  Rig rig({.key_prefix = "res", .result_expires = 0ms});
  if (!rig.server.runs()) return;
  rig.backend.put(std::vector{result("1", "SUCCESS", "5")});
  CHECK(rig.raw.call({"TTL", "res_celery-task-meta-1"}).integer == -1);
  CHECK(redis::RedisBackend(redis::parse_url("redis://"), {.key_prefix = "a:"}).result_key("x") ==
        "a:celery-task-meta-x");
}

TEST_CASE("a wait sees what is stored already and what comes later, also where RESP3 is refused") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.raw.call({"ACL", "SETUSER", "old", "on", ">secret", "~*", "&*", "+@all", "-hello"});
  std::string refused = rig.server.url();
  refused.insert(std::string("redis://").size(), "old:secret@");
  int stored = 0;
  for (const std::string& url : {rig.server.url(), refused}) {
    CAPTURE(url);
    redis::RedisBackend backend(redis::parse_url(url), {});
    CHECK_FALSE(backend.wait("1", Deadline::after(20ms)));
    rig.backend.put(std::vector{result("1", "STARTED", "null")});
    CHECK_FALSE(backend.wait("1", Deadline::after(20ms)));
    std::thread other([&] {
      const Deadline limit = Deadline::after(10s);
      while (rig.raw.call({"PUBSUB", "NUMSUB", "celery-task-meta-1"}).elements.at(1).integer == 0 && !limit.passed()) {
      }
      rig.backend.put(std::vector{result("1", "SUCCESS", std::to_string(++stored))});
    });
    const auto got = backend.wait("1", Deadline::after(10s));
    other.join();
    REQUIRE(got);
    CHECK(got->result_json == std::to_string(stored));
    CHECK(backend.wait("1", Deadline::now())->result_json == got->result_json);
    rig.backend.forget("1");
  }
}

TEST_CASE("a wait survives connections that are cut, and the next one hears nothing of the last") {
  Rig rig;
  if (!rig.server.runs()) return;
  for (const std::string& id : {std::string("1"), std::string("2")}) {
    std::thread other([&] {
      redis::RedisBackend writer(redis::parse_url(rig.server.url()), {});
      const Deadline limit = Deadline::after(10s);
      while (rig.raw.call({"PUBSUB", "NUMSUB", "celery-task-meta-" + id}).elements.at(1).integer == 0 &&
             !limit.passed()) {
      }
      rig.raw.call({"CLIENT", "KILL", "TYPE", "pubsub"});
      writer.put(std::vector{result(id, "STARTED", "null")});
      writer.put(std::vector{result(id, "SUCCESS", "\"" + id + "\"")});
    });
    const auto got = rig.backend.wait(id, Deadline::after(10s));
    other.join();
    REQUIRE(got);
    CHECK(got->result_json == "\"" + id + "\"");
  }
  CHECK_FALSE(rig.backend.wait("never", Deadline::after(20ms)));
}

TEST_CASE("a chord stands in Celery's keys until it is complete") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.backend.set_chord_size("g", 2);
  CHECK(rig.raw.call({"GET", "celery-taskset-meta-g.s"}).text == "2");
  CHECK_FALSE(rig.backend.chord_part_done("g", {"b", "SUCCESS", "4", 1}).complete);
  CHECK(rig.raw.call({"ZSCORE", "celery-taskset-meta-g.j", R"([1, "b", "SUCCESS", 4])"}).text == "1");
  CHECK(rig.raw.call({"TTL", "celery-taskset-meta-g.j"}).integer > 80'000);
  // The other member is a Python worker's: it writes its part and finds the chord not complete, then ours comes again.
  const auto done = rig.backend.chord_part_done("g", {"a", "SUCCESS", "2", 0});
  CHECK(done.complete);
  CHECK(done.results == std::vector<std::string>{"2", "4"});
  CHECK(rig.raw.call({"EXISTS", "celery-taskset-meta-g.j", "celery-taskset-meta-g.s", "celery-taskset-meta-g.t"})
            .integer == 0);
  CHECK_FALSE(rig.backend.chord_part_done("g", {"b", "SUCCESS", "4", 1}).complete);
}

// Its worker died after the chord was taken and before the body was sent: the chord must not be lost with it.
TEST_CASE("F019_the member that completed a chord is told so again, and nobody else") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.backend.set_chord_size("g", 1);
  CHECK(rig.backend.chord_part_done("g", {"a", "SUCCESS", "2", 0}).complete);
  CHECK_FALSE(rig.backend.chord_part_done("g", {"b", "SUCCESS", "2", 1}).complete);
  const auto again = rig.backend.chord_part_done("g", {"a", "SUCCESS", "2", 0});
  CHECK(again.complete);
  CHECK(again.results == std::vector<std::string>{"2"});
}

TEST_CASE("a chord with added members waits for them, and one with a saved header takes the members' results") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.backend.set_chord_size("g", 1);
  rig.raw.call({"SET", "celery-taskset-meta-g.t", "1"});  // add_to_chord
  CHECK_FALSE(rig.backend.chord_part_done("g", {"a", "SUCCESS", "1", 0}).complete);
  CHECK(rig.backend.chord_part_done("g", {"b", "SUCCESS", "2", {}}).complete);
  rig.backend.put_group("h", std::vector<TaskId>{"x", "y"});
  rig.backend.put(std::vector{result("x", "SUCCESS", "10"), result("y", "SUCCESS", "20")});
  rig.backend.set_chord_size("h", 1);
  CHECK(rig.backend.chord_part_done("h", {"y", "SUCCESS", "20", 0}).results == std::vector<std::string>{"10", "20"});
}
