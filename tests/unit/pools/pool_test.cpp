#include "support/pool_bench.hpp"

#include <errand/task.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

using namespace errand;
using errand::testing::Recorder;
using namespace std::chrono_literals;

namespace {

constexpr Task<std::int64_t(std::int64_t, std::int64_t)> add{"add", {"x", "y"}};
constexpr Task<void(std::string)> fail{"fail", {"text"}};
constexpr Task<void()> throw_int{"throw_int"};
constexpr Task<std::int64_t()> flaky{"flaky"};
constexpr Task<void()> crash{"crash"};
constexpr Task<void()> spin{"spin"};
constexpr Task<std::string()> polite{"polite"};
constexpr Task<std::string(std::int64_t)> large{"large", {"bytes"}};
constexpr Task<std::int64_t()> pid{"pid"};
constexpr Task<void()> tracked{"tracked"};
constexpr Task<void(double)> nap{"nap", {"seconds"}};

struct Away : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct FailureLog : Hooks {
  explicit FailureLog(std::string file) : path(std::move(file)) {}
  void on_failure(TaskContext& task, const Failure& why, const Array& args, const Object&) override {
    std::ofstream(path, std::ios::app) << task.id() << " " << why.type << " " << args.size() << "\n";
    throw std::runtime_error("a hook that throws changes nothing");
  }
  std::string path;
};

struct Bench : testing::PoolBench {
  explicit Bench(std::string_view kind, PoolOptions options = {.concurrency = 2}) {
    char name[] = "/tmp/errand-pool-XXXXXX";
    folder = mkdtemp(name);
    hooks_file = folder + "/hooks";
    registry.use(std::make_shared<FailureLog>(hooks_file));
    registry.add(add, [](std::int64_t x, std::int64_t y) { return x + y; });
    registry.add(fail, [](std::string text) { throw std::invalid_argument(text); });
    registry.add(throw_int, [] { throw 42; });
    registry.add(flaky,
                 [](TaskContext& task) -> std::int64_t {
                   if (task.retries() < 2) throw Away("provider is away");
                   return task.retries();
                 },
                 {.retry_on = {retry_on<Away>(RetryPolicy::fixed(7s, 2).into("later"))}});
    registry.add(crash, [] { raise(SIGSEGV); });
    registry.add(spin, [] {
      for (std::atomic<int> i = 0;; ++i) {
      }
    });
    registry.add(polite, [](TaskContext& task) -> std::string {
      for (;;) {
        task.check_cancelled();
        usleep(500);  // work: stands for a task that computes in small steps
      }
    });
    registry.add(large, [](std::int64_t bytes) { return std::string(static_cast<std::size_t>(bytes), 'x'); });
    registry.add(tracked, [] {}, {.track_started = true});
    registry.add(pid, [] { return static_cast<std::int64_t>(getpid()); });
    registry.add(nap,
                 [](double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); });  // work: the task's own time
    go(kind, std::move(options));
  }
  ~Bench() {
    stop();
    std::filesystem::remove_all(folder);
  }

  std::string folder, hooks_file;
};

constexpr const char* kPools[] = {"solo", "threads", "prefork"};

}  // namespace

TEST_CASE("every pool runs tasks, shows failures as Python would, and goes on") {
  for (const char* kind : kPools) {
    CAPTURE(kind);
    Bench bench(kind);
    CHECK(bench.run("add", {20, 22}).result_json == "42");
    const Outcome failed = bench.run("fail", {"no such size"});
    CHECK(failed.kind == Outcome::Kind::failure);
    CHECK(failed.result_json ==
          R"({"exc_type": "ValueError", "exc_message": ["no such size"], "exc_module": "builtins"})");
    CHECK(failed.error_text == "ValueError: no such size");
    CHECK(bench.run("add", {1}).error_text == "TypeError: add() missing 1 required positional argument: 'y'");
    CHECK(bench.run("add", {"one", 2}).error_text.find("x: expected integer, got text") != std::string::npos);
    CHECK(bench.run("throw_int").kind == Outcome::Kind::failure);  // F028_ an exception of unknown type
    CHECK(bench.run("add", {1, 2}).result_json == "3");
  }
}

TEST_CASE("AT-19: an error class with a policy is retried by it, then fails with the last reason") {
  for (const char* kind : kPools) {
    CAPTURE(kind);
    Bench bench(kind);
    const Outcome first = bench.run("flaky");
    CHECK(first.kind == Outcome::Kind::retry);
    CHECK(first.wait == 7s);
    CHECK(first.retry_queue == "later");
    CHECK(first.error_text == "RuntimeError: provider is away");
    CHECK(bench.sink.outcome(bench.start(bench.execution("flaky", {}, 2))).result_json == "2");
  }
}

// F110 to F114, F122: the headers were fine, the body is not. The task must not run, and the reason is for the dead
// letter.
TEST_CASE("F110_a message whose body cannot be read is told apart from a task that failed") {
  for (const char* kind : kPools) {
    CAPTURE(kind);
    Bench bench(kind);
    for (const auto& [body, code] : {std::pair{"[[1]]", "BAD_BODY"},
                                     {"[[1, 2], {}, {\"callbacks\": 5}]", "BAD_BODY"},
                                     {"[[1, tru], {}, {}]", "UNDECODABLE"},
                                     {"\x80\x04", "BAD_BODY"}}) {
      Execution bad = bench.execution("add", {1, 2});
      Message message = *bad.message;
      message.body = body;
      bad.message = std::make_shared<const Message>(std::move(message));
      const Outcome outcome = bench.sink.outcome(bench.start(bad));
      CHECK(outcome.kind == Outcome::Kind::failure);
      CHECK(outcome.defect_code == code);
      CHECK_FALSE(outcome.defect_detail.empty());
      CHECK(outcome.result_json.find("DecodeError") != std::string::npos);
    }
    CHECK(bench.run("fail", {"no"}).defect_code.empty());
  }
}

TEST_CASE("F037_a result over the limit is a failure that says so") {
  for (const char* kind : kPools) {
    CAPTURE(kind);
    Bench bench(kind, {.concurrency = 1, .max_result_bytes = 1000});
    CHECK(bench.run("large", {900}).kind == Outcome::Kind::success);
    const Outcome outcome = bench.run("large", {2000});
    CHECK(outcome.kind == Outcome::Kind::failure);
    CHECK(outcome.error_text.find("max_result_bytes") != std::string::npos);
  }
}

TEST_CASE("a soft limit and a polite stop reach a task that looks") {
  for (const char* kind : kPools) {
    CAPTURE(kind);
    Bench bench(kind);
    Execution limited = bench.execution("polite");
    limited.soft_time_limit = 20ms;
    CHECK(bench.sink.outcome(bench.start(limited)).error_text.find("SoftTimeLimitExceeded") != std::string::npos);
    const std::uint64_t run = bench.start("polite");
    REQUIRE(bench.sink.wait([&] { return bench.sink.started_.count(run) > 0; }));
    bench.pool->cancel(run, Cancel::cooperative, "revoked");
    CHECK(bench.sink.outcome(run).kind == Outcome::Kind::cancelled);
  }
}

TEST_CASE("F031_a task that ignores everything is killed at its hard limit") {
  Bench bench("prefork");
  Execution endless = bench.execution("spin");
  endless.time_limit = 50ms;
  const Outcome outcome = bench.sink.outcome(bench.start(endless));
  CHECK(outcome.kind == Outcome::Kind::timed_out);
  CHECK(outcome.limit == 50ms);
  CHECK(bench.run("add", {1, 2}).result_json == "3");
}

TEST_CASE("a thread cannot be killed: its run is given up and another takes its place") {
  // Never destroyed: the thread that is left behind uses the registry until its task ends, as it may in a worker.
  static auto& bench = *new Bench("threads", {.concurrency = 1});
  Execution deaf = bench.execution("nap", {0.5});
  deaf.time_limit = 20ms;
  CHECK(bench.sink.outcome(bench.start(deaf)).kind == Outcome::Kind::timed_out);
  CHECK(bench.run("add", {1, 2}).result_json == "3");
  std::filesystem::remove_all(bench.folder);
}

TEST_CASE("AT-24: the failure hook runs once, thrown, timed out or killed, and what it throws changes nothing") {
  Bench bench("prefork");
  bench.run("fail", {"no"});
  Execution outside = bench.execution("crash");
  outside.finish_failure = std::make_shared<const Failure>(Failure{.type = "WorkerLostError", .message = "gone"});
  CHECK(bench.sink.outcome(bench.start(outside)).kind == Outcome::Kind::failure);
  std::ifstream file(bench.hooks_file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  CHECK(lines == std::vector<std::string>{"id-1 ValueError 1", "id-2 WorkerLostError 0"});
}

TEST_CASE("AT-24: a result that cannot be stored is a failure, and the hook is told once") {
  for (const char* kind : kPools) {
    CAPTURE(kind);
    Bench bench(kind, {.concurrency = 1, .max_result_bytes = 1000});
    CHECK(bench.run("large", {2000}).kind == Outcome::Kind::failure);
    std::ifstream file(bench.hooks_file);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    CHECK(lines == std::vector<std::string>{"id-1 ResultTooLarge 1"});
  }
}

TEST_CASE("GN-46: with ten tasks a child, a thousand tasks use about a hundred children, none lost or doubled") {
  Bench bench("prefork", {.concurrency = 2, .max_tasks_per_child = 10});
  std::set<std::string> pids;
  std::vector<Execution> all;
  for (int i = 0; i < 1000; ++i) all.push_back(bench.execution("pid"));
  bench.pool->run(all);
  REQUIRE(bench.sink.wait([&] { return bench.sink.outcomes_.size() == 1000; }, 60s));
  for (const auto& [run, outcome] : bench.sink.outcomes_) pids.insert(outcome.result_json);
  CHECK(pids.size() >= 100);
  CHECK(pids.size() <= 102);
  for (const auto& [run, times] : bench.sink.ends_) CHECK(times == 1);
}

TEST_CASE("short tasks pile up in a child, and nothing waits behind a long one while another is free") {
  Bench bench("prefork", {.concurrency = 2});
  std::vector<Execution> many;
  for (int i = 0; i < 5000; ++i) many.push_back(bench.execution("add", {i, i}));
  bench.pool->run(many);
  REQUIRE(bench.sink.wait([&] { return bench.sink.outcomes_.size() == 5000; }));
  CHECK(bench.pool->free_slots() > 2);
  const std::uint64_t slow = bench.start("nap", {3.0});
  REQUIRE(bench.sink.wait([&] { return bench.sink.started_.count(slow) > 0; }));
  std::vector<std::uint64_t> quick;
  for (int i = 0; i < 16; ++i) quick.push_back(bench.start("add", {i, 1}));
  for (const std::uint64_t run : quick) bench.sink.outcome(run);
  CHECK(bench.sink.outcomes_.count(slow) == 0);
}

// Somebody wants to see STARTED, however short it lasts.
TEST_CASE("the start of a task that tracks it is told, also when it has ended at once") {
  for (const char* kind : kPools) {
    CAPTURE(kind);
    Bench bench(kind);
    for (int i = 0; i < 20; ++i) bench.run("tracked");
    CHECK(bench.sink.started_.size() == 20);
  }
}

// Each telling is a wake-up of the worker and a commit in its store.
TEST_CASE("short tasks are told of many at a time, in a child or a thread there is room for many, and none is lost") {
  for (const char* kind : {"threads", "prefork"}) {
    CAPTURE(kind);
    Bench bench(kind, {.concurrency = 2});
    std::vector<Execution> many;
    for (int i = 0; i < 5000; ++i) many.push_back(bench.execution("add", {i, i}));
    bench.pool->run(many);
    REQUIRE(bench.sink.wait([&] { return bench.sink.outcomes_.size() == 5000; }));
    for (const auto& [run, times] : bench.sink.ends_) REQUIRE(times == 1);
    CHECK(bench.pool->free_slots() > 16);
    if (bench.pool->name() == "prefork") CHECK(bench.sink.tellings_ < 2500);
  }
}

// A child that was quick a hundred times is trusted with many tasks; what it runs now may take long all the same.
TEST_CASE("a task that takes long in a quick child or thread gets no others behind it") {
  for (const char* kind : {"threads", "prefork"}) {
    CAPTURE(kind);
    Bench bench(kind, {.concurrency = 1});
    for (int i = 0; i < 100; ++i) bench.run("add", {i, i});
    REQUIRE(bench.pool->free_slots() > 1);
    const std::uint64_t slow = bench.start("nap", {1.0});
    REQUIRE(bench.sink.wait([&] { return bench.sink.started_.count(slow) > 0; }));
    bool full = false;  // only while it runs
    while (!full && !bench.sink.wait([&] { return bench.sink.outcomes_.count(slow) > 0; }, 0s)) {
      full = bench.pool->free_slots() == 0;
    }
    CHECK(full);
    CHECK(bench.sink.outcome(slow).kind == Outcome::Kind::success);
  }
}

TEST_CASE("what has not begun can be taken back") {
  for (const char* kind : {"threads", "prefork"}) {
    CAPTURE(kind);
    Bench bench(kind, {.concurrency = 1});
    const std::uint64_t running = bench.start("nap", {0.3});
    REQUIRE(bench.sink.wait([&] { return bench.sink.started_.count(running) > 0; }));
    const std::uint64_t waiting = bench.start("add", {1, 2});
    CHECK(bench.pool->reclaim() == std::vector<std::uint64_t>{waiting});
    bench.sink.outcome(running);
    CHECK(bench.sink.outcomes_.count(waiting) == 0);
    CHECK(bench.run("add", {1, 2}).result_json == "3");
  }
}

TEST_CASE("GN-9: tasks that run at the same time have durations of their own") {
  Bench bench("threads", {.concurrency = 8});
  std::vector<std::uint64_t> runs;
  for (int i = 1; i <= 8; ++i) runs.push_back(bench.start("nap", {i * 0.03}));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const double seconds = std::chrono::duration<double>(bench.sink.outcome(runs[i]).duration).count();
    CHECK(seconds >= static_cast<double>(i + 1) * 0.03);
    CHECK(seconds < static_cast<double>(i + 1) * 0.03 + 0.5);
  }
}
