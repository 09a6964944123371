#include "protocol/events.hpp"
#include "protocol/decode_failure.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <vector>

using namespace errand;
using namespace errand::protocol;

namespace {

const TimePoint kNow{Microseconds{1'795'326'295'500'000}};

struct Source {
  LamportClock clock;
  EventBuilder build{EventSource{"w1@test", 11840, 0}, clock};
};

}  // namespace

TEST_CASE("a worker's heartbeat has the fields and the order of Celery's own") {
  Source source;
  const Object event = source.build.worker("worker-heartbeat", kNow,
                                           {.active = 1, .processed = 7, .loadavg = {4.45, 2.2, 1.05}, .version = "1"});
  CHECK(
      to_json(Value(event)) ==
      R"({"hostname": "w1@test", "utcoffset": 0, "pid": 11840, "clock": 1, "freq": 2.0, "active": 1, "processed": 7, )"
      R"("loadavg": [4.45, 2.2, 1.05], "sw_ident": "errand", "sw_ver": "1", "sw_sys": "Linux", )"
      R"("timestamp": 1795326295.5, "type": "worker-heartbeat"})");
  const Envelope envelope = source.build.envelope(event);
  CHECK(envelope.route == Route{"celeryev", "worker.heartbeat"});
  CHECK(envelope.message.headers == Object{{"hostname", "w1@test"}});
  CHECK(read_events(envelope.message) == std::vector<Object>{event});
}

TEST_CASE("task events name the task by id and show texts as Python prints them") {
  Source source;
  TaskMessage task;
  task.task = "proj.add";
  task.shadow = "shown";
  task.id = "i";
  task.argsrepr = "(2, 3)";
  const Object received = source.build.task_received(kNow, task);
  CHECK(*received.find("name") == Value("shown"));
  CHECK(*received.find("parent_id") == Value());
  CHECK(*received.find("args") == Value("(2, 3)"));
  CHECK(*source.build.task_succeeded(kNow, "i", "{\"a\": null}", 0.25).find("result") == Value("{'a': None}"));
  CHECK(*source.build.task_failed(kNow, "i", {"ValueError", "builtins", {"bad", 42}}, "tb").find("exception") ==
        Value("ValueError('bad', 42)"));
  CHECK(*source.build.task_revoked(kNow, "i", true, 15, false).find("signum") == Value(15));
  CHECK(*source.build.task_custom(kNow, "task-progress", "i", {{"percent", 5}}).find("percent") == Value(5));
  CHECK(source.clock.value() == 5);
}

TEST_CASE("events of one worker may travel together, and readers take one or many") {
  Source source;
  const std::vector<Object> batch{source.build.task_started(kNow, "a"), source.build.task_rejected(kNow, "b", true)};
  const Envelope envelope = source.build.envelope(batch);
  CHECK(envelope.route.routing_key == "task.multi");
  CHECK(read_events(envelope.message) == batch);
}

// F126: malformed events are left out, and never stop their reader.
TEST_CASE("what is no event is left out") {
  Message message;
  message.body = R"([5, {}, {"type": 5}, {"type": "task-x"}, null])";
  CHECK(read_events(message).size() == 1);
  message.body = "5";
  CHECK(read_events(message).empty());
  message.body = "nonsense";
  CHECK_THROWS_AS(read_events(message), DecodeFailure);
}

TEST_CASE("a Lamport clock never runs backwards, whatever stamp comes in") {
  LamportClock clock(5);
  CHECK(clock.send() == 6);
  CHECK(clock.receive(3) == 7);
  CHECK(clock.receive(100) == 101);
  CHECK(clock.receive(std::numeric_limits<std::uint64_t>::max()) == 101);
  CHECK(clock.send() == 102);
}
