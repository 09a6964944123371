// The registry: what a program can run, found by name.
#include "linked.hpp"

#include <errand/catalogue.hpp>
#include <errand/failure_hook.hpp>
#include <errand/registry.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>

using namespace errand;
using namespace std::chrono_literals;

namespace {

struct RecordingHost final : ContextHost {
  void progress(std::string_view state, const Value& meta) override { said = std::string(state) + " " + to_json(meta); }
  void log(std::string_view line) override { said = line; }
  std::string_view stop_reason() const noexcept override { return reason; }
  bool soft_limit_passed() const noexcept override { return late; }
  TaskId send(Signature call) override {
    said = "sent " + call.task;
    return "child";
  }
  std::string said, reason;
  bool late = false;
};

constexpr Task<int(int, int)> add{"add", {"x", {"y", 2}}};

int add_function(int x, int y) { return x + y; }

}  // namespace

TEST_CASE("a registered task runs with or without its context, as function or lambda") {
  RecordingHost host;
  TaskContext context({.id = "t1", .retries = 3}, host);
  Registry registry;
  registry.add(add, add_function);
  constexpr Task<std::string()> who{"who"};
  registry.add(who, [](TaskContext& task) { return task.id() + " " + std::to_string(task.retries()); });
  constexpr Task<void(std::string)> note{"note", {"text"}};
  registry.add(note, [](TaskContext& task, const std::string& text) { task.log(text); });

  CHECK(registry.find("add")->invoke(context, {1}, {}) == Value(3));
  CHECK(registry.find("add")->invoke(context, {}, {{"y", 5}, {"x", 1}}) == Value(6));
  CHECK(registry.find("who")->invoke(context, {}, {}) == Value("t1 3"));
  CHECK(registry.find("note")->invoke(context, {"hello"}, {}).is_null());
  CHECK(host.said == "hello");
  CHECK(registry.find("nobody") == nullptr);
}

TEST_CASE("a name is registered once") {
  Registry registry;
  registry.add(add, add_function);
  CHECK_THROWS_WITH_AS(registry.add(add, add_function), doctest::Contains("this one is registered already"), Error);
  constexpr Task<void()> nameless{""};
  CHECK_THROWS_WITH_AS(registry.add(nameless, [] {}), doctest::Contains("expected a task name"), Error);
}

// Without this the mistake shows when the first caller leaves the argument out, on the worker.
TEST_CASE("a default that does not fit its parameter is refused when the task is registered") {
  constexpr Task<int(int)> wrong{"wrong", {{"x", "seven"}}};
  Registry registry;
  CHECK_THROWS_WITH_AS(registry.add(wrong, [](int x) { return x; }),
                       doctest::Contains("default of x: expected integer, got text"), Error);
}

TEST_CASE("CP-5: a task linked in from another file is found with its queue and policy, when main asks for it") {
  Registry registry;
  CHECK(registry.empty());  // linking alone registers nothing
  registry.add_linked();
  registry.add_linked();
  const TaskDefinition* found = registry.find("linked.elsewhere");
  REQUIRE(found != nullptr);
  CHECK(found->options.queue == "far");
  const Value entry = catalogue_entry(*found);
  CHECK(*entry.find("queue") == Value("far"));
  CHECK(*entry.find("retry") == Value("fixed(5s) x2"));
  CHECK(describe_task(found->name, found->schema) == "linked.elsewhere(x: integer) -> integer");
  RecordingHost host;
  TaskContext context({}, host);
  CHECK(found->invoke(context, {41}, {}) == Value(42));
}

TEST_CASE("AT-24: hooks of the registry and of one task are both there, whatever the order of adding") {
  Registry registry;
  registry.use(std::make_shared<Hooks>());
  registry.add(add, add_function);
  registry.use(std::make_shared<Hooks>());
  registry.use("add", std::make_shared<Hooks>());
  CHECK(registry.find("add")->hooks.size() == 3);
  CHECK_THROWS_WITH_AS(registry.use("other", std::make_shared<Hooks>()),
                       doctest::Contains("add the task before its hooks"), Error);
}

TEST_CASE("AT-24: a failure hook gets the task's own parameters, by place or by name, and nothing of a wrong call") {
  static constexpr Task<void(std::string, int)> provision{"provision", {"portfolio", {"size", 3}}};
  Registry registry;
  registry.add(provision, [](std::string, int) {});
  std::vector<std::string> told;
  registry.use(provision.name(),
               failure_hook(provision, [&](TaskContext&, const Failure& why, std::string id, int size) {
                 told.push_back(why.type + " " + id + " " + std::to_string(size));
               }));
  RecordingHost host;
  TaskContext context({}, host);
  Hooks& hook = *registry.find("provision")->hooks.front();
  const Failure lost{.type = "WorkerLostError", .message = "", .module = "", .traceback = "", .exception = nullptr};
  hook.on_failure(context, lost, {"p1", 7}, {});
  hook.on_failure(context, lost, {}, {{"size", 8}, {"portfolio", "p2"}});
  hook.on_failure(context, lost, {"p3"}, {});
  hook.on_failure(context, lost, {5}, {});
  hook.on_failure(context, lost, {}, {{"portfolios", "p4"}});
  CHECK(told == std::vector<std::string>{"WorkerLostError p1 7", "WorkerLostError p2 8", "WorkerLostError p3 3"});
}

TEST_CASE("rates are Celery's") {
  struct Row {
    const char* text;
    double tasks;
    Milliseconds per;
    const char* described;
  };
  const Row rows[] = {{"10/s", 10, 1s, "10/s"}, {"100/m", 100, 1min, "100/m"}, {"3/h", 3, 1h, "3/h"},
                      {"5", 5, 1s, "5/s"},      {"0.5/m", 0.5, 1min, "0.5/m"}, {"", 0, 1s, "none"},
                      {"0", 0, 1s, "none"}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const RateLimit limit = RateLimit::parse(row.text);
    CHECK(limit.tasks == row.tasks);
    CHECK(limit.per == row.per);
    CHECK(limit.describe() == row.described);
  }
  for (const char* text : {"x", "10/d", "/s", "10/", "-1/s", "nan/s", "inf", "1e99/s", "10 /s"}) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(static_cast<void>(RateLimit::parse(text)), doctest::Contains("expected a rate such as '10/s'"),
                         Error);
  }
}

TEST_CASE("a task's context reports progress, sends children and says when to stop") {
  RecordingHost host;
  TaskContext context({}, host);
  context.progress(3, 10);
  CHECK(host.said == R"(PROGRESS {"current": 3, "total": 10})");
  context.update_state("UPLOADING", Value("half"));
  CHECK(host.said == "UPLOADING \"half\"");
  CHECK(context.send(add(1, 2)) == "child");
  CHECK_FALSE(context.should_stop());
  CHECK_NOTHROW(context.check_cancelled());
  host.reason = "revoked";
  CHECK(context.should_stop());
  CHECK_THROWS_AS(context.check_cancelled(), Cancelled);
  // The soft limit is the harder word: a revoke that was not heeded ends in it.
  host.late = true;
  CHECK_THROWS_AS(context.check_cancelled(), SoftTimeLimitExceeded);
}
