#include "pools/make_pool.hpp"

#include <errand/task.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <poll.h>
#include <mutex>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace errand;
using namespace std::chrono_literals;

namespace {

constexpr Task<std::int64_t(std::int64_t, std::int64_t)> add{"add", {"x", "y"}};
constexpr Task<void(std::string)> fail{"fail", {"text"}};
constexpr Task<void()> throw_int{"throw_int"};
constexpr Task<std::int64_t()> flaky{"flaky"};
constexpr Task<void()> overflow{"overflow"};
constexpr Task<void()> crash{"crash"};
constexpr Task<void()> quit{"quit"};
constexpr Task<void()> spin{"spin"};
constexpr Task<std::string()> polite{"polite"};
constexpr Task<void(std::int64_t)> talk{"talk", {"bytes"}};
constexpr Task<std::string(std::int64_t)> large{"large", {"bytes"}};
constexpr Task<void(std::int64_t)> report{"report", {"steps"}};
constexpr Task<void()> close_all{"close_all"};
constexpr Task<std::int64_t()> pid{"pid"};
constexpr Task<void(double)> nap{"nap", {"seconds"}};

struct Away : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Not a loop the compiler may remove or turn into a jump: every frame is used after the call.
int deeper(int n, const volatile char* above) {
  volatile char frame[4096];
  frame[0] = above == nullptr ? char{0} : above[0];
  return n < 0 ? 0 : deeper(n + 1, frame) + frame[0];
}

struct FailureLog : Hooks {
  explicit FailureLog(std::string file) : path(std::move(file)) {}
  void on_failure(TaskContext& task, const Failure& why, const Array& args, const Object&) override {
    std::ofstream(path, std::ios::app) << task.id() << " " << why.type << " " << args.size() << "\n";
    throw std::runtime_error("a hook that throws changes nothing");
  }
  std::string path;
};

class Recorder final : public PoolSink {
 public:
  void started(std::uint64_t run, int) override { note([&] { started_.insert(run); }); }
  void progressed(Progress progress) override { note([&] { progress_.push_back(std::move(progress)); }); }
  void finished(Outcome outcome) override {
    note([&] {
      ends_[outcome.run] += 1;
      outcomes_[outcome.run] = std::move(outcome);
    });
  }
  void process_ended(int process, int status, std::uint64_t running) override { note([&] { ended_.push_back({process, status, running}); }); }

  template <class F>
  bool wait(F&& condition, std::chrono::seconds limit = 30s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, condition);
  }
  Outcome outcome(std::uint64_t run) {
    REQUIRE(wait([&] { return outcomes_.count(run) > 0; }));
    const std::lock_guard lock(mutex_);
    return outcomes_[run];
  }

  struct End {
    int pid, status;
    std::uint64_t running;
  };
  std::set<std::uint64_t> started_;
  std::vector<Progress> progress_;
  std::map<std::uint64_t, Outcome> outcomes_;
  std::map<std::uint64_t, int> ends_;
  std::vector<End> ended_;

 private:
  template <class F>
  void note(F&& what) {
    const std::lock_guard lock(mutex_);
    what();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

struct Bench {
  explicit Bench(std::string_view kind, PoolOptions options = {.concurrency = 2}) {
    char name[] = "/tmp/errand-pool-XXXXXX";
    folder = mkdtemp(name);
    hooks_file = folder + "/hooks";
    registry.use(std::make_shared<FailureLog>(hooks_file));
    registry.add(add, [](std::int64_t x, std::int64_t y) { return x + y; });
    registry.add(fail, [](std::string text) { throw std::invalid_argument(text); });
    registry.add(throw_int, [] { throw 42; });
    registry.add(flaky, [](TaskContext& task) -> std::int64_t {
      if (task.retries() < 2) throw Away("provider is away");
      return task.retries();
    }, {.retry_on = {retry_on<Away>(RetryPolicy::fixed(7s, 2).into("later"))}});
    registry.add(overflow, [] { static_cast<void>(deeper(0, nullptr)); });
    registry.add(crash, [] { raise(SIGSEGV); });
    registry.add(quit, [] { _exit(3); });
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
    registry.add(talk, [](std::int64_t bytes) {
      const std::string line(1000, 'x');
      for (std::int64_t i = 0; i < bytes; i += 1000) std::cout << line;
      std::cout << std::endl;
    });
    registry.add(large, [](std::int64_t bytes) { return std::string(static_cast<std::size_t>(bytes), 'x'); });
    registry.add(report, [](TaskContext& task, std::int64_t steps) {
      for (std::int64_t i = 1; i <= steps; ++i) task.progress(i, steps);
    });
    registry.add(close_all, [] {
      for (int fd = 3; fd < 64; ++fd) close(fd);
    });
    registry.add(pid, [] { return static_cast<std::int64_t>(getpid()); });
    registry.add(nap, [](double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); });  // work: the task's own time
    pool = make_pool(kind, options);
    pool->start(registry, sink);
  }
  ~Bench() {
    pool->stop(Deadline::after(5s));
    std::filesystem::remove_all(folder);
  }

  Execution execution(std::string task, Array args = {}, std::uint32_t retries = 0) {
    Execution one;
    one.run = ++last;
    one.id = "id-" + std::to_string(last);
    one.task = std::move(task);
    one.queue = "q";
    one.route = {"", "q"};
    one.retries = retries;
    Message message;
    message.headers = Object{{"task", one.task}, {"id", one.id}, {"retries", static_cast<long long>(retries)}};
    message.body = to_json(Value::array({Value(std::move(args)), Value::object(), Value::object()}));
    one.message = std::make_shared<const Message>(std::move(message));
    return one;
  }
  std::uint64_t start(Execution one) {
    const std::uint64_t run = one.run;
    pool->run({&one, 1});
    return run;
  }
  std::uint64_t start(std::string task, Array args = {}) { return start(execution(std::move(task), std::move(args))); }
  Outcome run(std::string task, Array args = {}) { return sink.outcome(start(std::move(task), std::move(args))); }

  Registry registry;
  Recorder sink;
  std::unique_ptr<Pool> pool;
  std::uint64_t last = 0;
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
    CHECK(failed.result_json == R"({"exc_type": "ValueError", "exc_message": ["no such size"], "exc_module": "builtins"})");
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

TEST_CASE("F026_F029_F030_a task that crashes, overflows its stack or exits ends alone, and the process that ran it is named") {
  Bench bench("prefork");
  const struct {
    const char* task;
    int signal, status;
  } rows[] = {{"crash", SIGSEGV, 0}, {"overflow", SIGSEGV, 0}, {"quit", 0, 3}};
  for (const auto& row : rows) {
    CAPTURE(row.task);
    const std::uint64_t run = bench.start(row.task);
    const Outcome outcome = bench.sink.outcome(run);
    CHECK(outcome.kind == Outcome::Kind::lost);
    CHECK(outcome.exit_signal == row.signal);
    CHECK(outcome.exit_status == row.status);
    CHECK(bench.sink.wait([&] {
      for (const Recorder::End& end : bench.sink.ended_) {
        if (end.running == run) return true;
      }
      return false;
    }));
    CHECK(bench.run("add", {1, 2}).result_json == "3");
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
  Bench bench("threads", {.concurrency = 1});
  Execution deaf = bench.execution("nap", {0.5});
  deaf.time_limit = 20ms;
  CHECK(bench.sink.outcome(bench.start(deaf)).kind == Outcome::Kind::timed_out);
  CHECK(bench.run("add", {1, 2}).result_json == "3");
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

TEST_CASE("F035_F036_closed descriptors and a flood of output hurt nobody") {
  Bench bench("prefork");
  bench.run("talk", {20'000'000});
  bench.start("close_all");
  // The child that closed everything may die of it or not; the next tasks run either way.
  for (int i = 0; i < 4; ++i) CHECK(bench.run("add", {1, 2}).result_json == "3");
}

TEST_CASE("F038_a flood of progress is thinned out, and the last word arrives") {
  Bench bench("prefork");
  const std::uint64_t run = bench.start("report", {200'000});
  bench.sink.outcome(run);
  REQUIRE_FALSE(bench.sink.progress_.empty());
  CHECK(bench.sink.progress_.size() < 100);
  CHECK(bench.sink.progress_.back().meta_json == R"({"current": 200000, "total": 200000})");
}

TEST_CASE("GN-46: a child that has run its number of tasks is replaced, and none is lost or doubled") {
  Bench bench("prefork", {.concurrency = 2, .max_tasks_per_child = 10});
  std::set<std::string> pids;
  std::vector<Execution> all;
  for (int i = 0; i < 300; ++i) all.push_back(bench.execution("pid"));
  bench.pool->run(all);
  REQUIRE(bench.sink.wait([&] { return bench.sink.outcomes_.size() == 300; }, 60s));
  for (const auto& [run, outcome] : bench.sink.outcomes_) pids.insert(outcome.result_json);
  CHECK(pids.size() >= 30);
  CHECK(pids.size() <= 32);
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

TEST_CASE("F021_children die with their supervisor") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    close(ends[0]);
    Bench bench("prefork");
    bench.run("add", {1, 2});
    std::vector<int> pids = bench.pool->processes();
    static_cast<void>(write(ends[1], pids.data(), pids.size() * sizeof(int)) > 0);
    for (;;) pause();
  }
  close(ends[1]);
  int pids[2] = {};
  REQUIRE(read(ends[0], pids, sizeof pids) == sizeof pids);
  kill(supervisor, SIGKILL);
  waitpid(supervisor, nullptr, 0);
  // The write end is also open in the children: the pipe ends when the last of them is gone.
  pollfd gone{ends[0], POLLIN, 0};
  CHECK(poll(&gone, 1, 10'000) == 1);
  char byte;
  CHECK(read(ends[0], &byte, 1) == 0);
  close(ends[0]);
  for (const int one : pids) CHECK((kill(one, 0) != 0 || std::ifstream("/proc/" + std::to_string(one) + "/stat").good()));
}
