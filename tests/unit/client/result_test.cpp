// Reading what came of a task.
#include "fakes.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>

using namespace errand;
using namespace std::chrono_literals;
using fakes::World;

namespace {

constexpr Task<int(int, int)> add{"tasks.add", {"x", "y"}};
constexpr Task<void()> sweep{"tasks.sweep"};

void store(World& world, const TaskId& id, std::string state, std::string json, std::string traceback = "",
           std::string children = "[]") {
  world.records[id] = TaskResult{.id = id,
                                 .state = std::move(state),
                                 .result_json = std::move(json),
                                 .traceback = std::move(traceback),
                                 .children_json = std::move(children)};
}

}  // namespace

TEST_CASE("a typed call gives a typed result, a call by name a value") {
  World world;
  Client client({}, fakes::connections(world));
  const auto sum = client.send(add(40, 2));
  store(world, sum.id(), "SUCCESS", "42");
  const int value = sum.get(10s);
  CHECK(value == 42);
  CHECK(sum.get() == 42);
  CHECK(sum.ready());
  CHECK(sum.successful());

  const AsyncResult named = client.send(Signature("elsewhere"));
  store(world, named.id(), "SUCCESS", R"({"data": {"__type__": "bytes", "__value__": "x"}})");
  CHECK(named.get(10s) == Value::object({{"data", Bytes{"x"}}}));

  const auto nothing = client.send(sweep());
  store(world, nothing.id(), "SUCCESS", "null");
  nothing.get(10s);
}

TEST_CASE("a result of another type than promised is said with its path, not converted") {
  World world;
  Client client({}, fakes::connections(world));
  const auto sum = client.send(add(40, 2));
  store(world, sum.id(), "SUCCESS", "\"forty-two\"");
  CHECK_THROWS_WITH_AS(sum.get(10s), doctest::Contains("result: expected integer, got text"), Error);
  CHECK_THROWS_WITH_AS(sum.get<std::vector<int>>(10s), doctest::Contains("expected list of integer, got text"), Error);
  CHECK(sum.get<std::string>(10s) == "forty-two");
}

TEST_CASE("a failure comes as data: type, message, module, traceback") {
  World world;
  Client client({}, fakes::connections(world));
  store(world, "t", "FAILURE",
        R"({"exc_type": "ExportError", "exc_message": ["no space left"], "exc_module": "shop.errors"})",
        "Traceback ...");
  try {
    client.result("t").get(10s);
    FAIL("it succeeded");
  } catch (const TaskFailed& failed) {
    CHECK(failed.type() == "ExportError");
    CHECK(failed.message() == "no space left");
    CHECK(failed.module() == "shop.errors");
    CHECK(failed.traceback() == "Traceback ...");
    CHECK(std::string(failed.what()) == "ExportError: no space left");
  }
  store(world, "r", "REVOKED",
        R"({"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"})");
  CHECK_THROWS_AS(client.result("r").get(10s), TaskRevoked);
}

TEST_CASE("a result that is not there by the deadline is said with the state the task is in") {
  World world;
  Client client({}, fakes::connections(world));
  const AsyncResult pending = client.result("t");
  CHECK(pending.state() == "PENDING");
  CHECK_FALSE(pending.wait(Deadline::now()));
  CHECK_THROWS_WITH_AS(pending.get(Deadline::now()), doctest::Contains("got state PENDING"), ResultTimeout);
  store(world, "t", "STARTED", R"({"pid": 1, "hostname": "w"})");
  try {
    pending.get(Deadline::now());
    FAIL("it was ready");
  } catch (const ResultTimeout& late) {
    CHECK(late.last_state() == "STARTED");
    CHECK(late.kind() == ErrorKind::unavailable);
  }
}

TEST_CASE("a task that stores no result says so instead of letting its sender wait") {
  World world;
  Client client({}, fakes::connections(world));
  const auto ignored = client.send(add(1, 2).ignore_result());
  CHECK_THROWS_WITH_AS(ignored.get(10s), doctest::Contains("this one was sent with ignore_result"), Error);
  CHECK_THROWS_WITH_AS(ignored.wait(Deadline::now()), doctest::Contains("ignore_result"), Error);
  ClientConnections without = fakes::connections(world);
  without.results = nullptr;
  Client no_backend({}, std::move(without));
  CHECK_THROWS_WITH_AS(no_backend.send(add(1, 2)).get(10s), doctest::Contains("set result_backend"), Error);
}

TEST_CASE("progress is what the task reported, and nothing in Celery's own states") {
  World world;
  Client client({}, fakes::connections(world));
  const AsyncResult task = client.result("t");
  CHECK(task.progress().is_null());
  store(world, "t", "STARTED", R"({"pid": 1})");
  CHECK(task.progress().is_null());
  store(world, "t", "PROGRESS", R"({"current": 3, "total": 10})");
  CHECK(task.progress() == Value::object({{"current", 3}, {"total", 10}}));
  store(world, "t", "RETRY", R"({"exc_type": "Retry", "exc_message": [], "exc_module": "x"})");
  CHECK(task.progress().is_null());
  store(world, "t", "SUCCESS", "7");
  CHECK(task.progress().is_null());
}

TEST_CASE("children are found in the record, groups by their members, itself left out") {
  World world;
  Client client({}, fakes::connections(world));
  store(world, "t", "SUCCESS", "1", "",
        R"([[["a", null], null], [["g", null], [[["b", null], null], [["c", null], null]]], [["t", null], null]])");
  std::string ids;
  for (const AsyncResult& child : client.result("t").children()) ids += child.id();
  CHECK(ids == "abc");
  store(world, "odd", "SUCCESS", "1", "", R"([5, [], [[]], [[null]], {"x": 1}])");
  CHECK(client.result("odd").children().empty());
  CHECK(client.result("nobody").children().empty());
}

TEST_CASE("a store that is away for a moment is asked again, on a new connection") {
  World world;
  Client client({}, fakes::connections(world));
  store(world, "t", "SUCCESS", "5");
  world.read_script = {ErrorKind::unavailable, ErrorKind::in_doubt};
  CHECK(client.result("t").get<int>(10s) == 5);
  CHECK(world.backends_opened == 3);
  CHECK(client.result("t").get<int>(10s) == 5);
  CHECK(world.backends_opened == 3);  // given back and lent again
  world.read_script.assign(1000, ErrorKind::unavailable);
  CHECK_THROWS_AS(client.result("t").get(Deadline::never()), Error);  // patience ends, even without a deadline
  world.read_script.assign(1, ErrorKind::denied);
  CHECK_THROWS_WITH_AS(client.result("t").get(10s), doctest::Contains("fake.get"), Error);
}

TEST_CASE("a group is read in the order of its calls, saved and found again") {
  World world;
  Client client({}, fakes::connections(world));
  const GroupResult group = client.send_group({add(1, 1), add(2, 2)});
  CHECK_FALSE(group.ready());
  store(world, group.results()[1].id(), "SUCCESS", "4");
  CHECK(group.completed() == 1);
  store(world, group.results()[0].id(), "SUCCESS", "2");
  CHECK(group.ready());
  CHECK(group.get(Deadline::after(10s)) == std::vector<Value>{2, 4});
  CHECK_FALSE(client.group(group.id()).has_value());
  group.save();
  REQUIRE(client.group(group.id()).has_value());
  CHECK(client.group(group.id())->results()[1].id() == group.results()[1].id());
}

TEST_CASE("a handle works after its client is gone, and can be forgotten and revoked") {
  World world;
  std::optional<AsyncResult> kept;
  {
    Client client({}, fakes::connections(world));
    kept = client.send(Signature("t"));
  }
  store(world, kept->id(), "SUCCESS", "1");
  CHECK(kept->get(10s) == Value(1));
  kept->forget();
  CHECK(kept->state() == "PENDING");
  kept->revoke();
  CHECK(world.broadcasts.size() == 1);
}
