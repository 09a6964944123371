// What a pool of processes survives, and what it says about it. The misbehaviour is in tests/support/task_zoo.hpp.
#include "core/process_tree.hpp"
#include "support/zoo_bench.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;

namespace {

bool alive(std::int64_t pid) { return kill(static_cast<pid_t>(pid), 0) == 0; }

long resident_kib() {
  std::ifstream file("/proc/self/statm");
  long total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE) / 1'024;
}

}  // namespace

TEST_CASE("F026_F029_a task that crashes is lost with its signal, its functions, its peak memory and its last line") {
  Zoo bench;
  const struct {
    const char* how;
    int signal;
    const char* says;
  } rows[] = {
      {"segv", SIGSEGV, "zoo::write_to_nowhere()"},   {"abort", SIGABRT, "zoo::crash("},
      {"bus", SIGBUS, "zoo::read_behind_the_file()"}, {"ill", SIGILL, "zoo::crash("},
      {"fpe", SIGFPE, "zoo::divide_by_nothing()"},    {"stack", SIGSEGV, "out of stack"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.how);
    if (kSanitized && std::string_view(row.how) != "abort") continue;
    const std::uint64_t run = bench.start("zoo.crash", {row.how});
    const Outcome outcome = bench.sink.outcome(run);
    CHECK(outcome.kind == Outcome::Kind::lost);
    CHECK(outcome.exit_signal == row.signal);
    CHECK(outcome.peak_rss_kib > 0);
    CAPTURE(outcome.traceback);
    CHECK(says(outcome.traceback, row.says));
    CHECK(says(outcome.traceback, "Peak memory "));
    CHECK(says(outcome.traceback, std::string("| about to crash: ") + row.how));
    CHECK(says(outcome.evidence, std::string("SIG") + sigabbrev_np(row.signal)));
    // Frames end where the task ends: what the worker adds tells nothing.
    CHECK_FALSE(says(outcome.traceback, "errand::pools"));
    CHECK(bench.sink.wait([&] {
      return std::any_of(bench.sink.ended_.begin(), bench.sink.ended_.end(),
                         [&](const Recorder::End& end) { return end.running == run; });
    }));
    CHECK(bench.others_go_on());
  }
}

TEST_CASE("F026_a backtrace holds functions, modules and offsets, and nothing of the memory") {
  if (kSanitized) return;
  Zoo bench;
  const Outcome outcome = bench.run("zoo.crash", {"segv"});
  std::istringstream lines(outcome.traceback);
  std::size_t frames = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("    #")) continue;
    frames += 1;
    CAPTURE(line);
    CHECK(says(line, "+0x"));
    CHECK_FALSE(says(line, "/"));  // a module is named without its folders
  }
  CHECK(frames >= 2);
}

TEST_CASE("F028_what nobody catches is told with its type and text") {
  Zoo bench;
  CHECK(bench.run("zoo.throw_int").kind == Outcome::Kind::failure);
  const struct {
    const char* how;
    const char* says;
  } rows[] = {{"thread", "std::terminate: std::out_of_range: thrown by a thread"},
              {"destructor", "std::terminate: std::runtime_error: thrown by a destructor"},
              {"terminate", "std::terminate: no exception"}};
  for (const auto& row : rows) {
    CAPTURE(row.how);
    const Outcome outcome = bench.run("zoo.crash", {row.how});
    CHECK(outcome.kind == Outcome::Kind::lost);
    CHECK(outcome.exit_signal == SIGABRT);
    CHECK(says(outcome.traceback, row.says));
    CHECK(says(outcome.evidence, row.says));
    CHECK(bench.others_go_on());
  }
}

TEST_CASE("F029_memory that is refused is the task's error, which names the limit") {
  if (kSanitized) return;
  Zoo bench;
  const Outcome outcome = bench.limited("zoo.memory", {std::int64_t{400} << 20}, {.memory = 96u << 20});
  CAPTURE(outcome.error_text);
  // The allocation that the kernel refuses, or the look at what is used: whoever comes first.
  const bool refused = outcome.kind == Outcome::Kind::failure && says(outcome.error_text, "MemoryError") &&
                       says(outcome.error_text, "memory_limit = 96MiB");
  const bool ended = outcome.kind == Outcome::Kind::lost && says(outcome.exceeded, "memory_limit = 96MiB");
  CHECK((refused || ended));
  CHECK(bench.limited("zoo.memory", {std::int64_t{20} << 20}, {.memory = 96u << 20}).kind == Outcome::Kind::success);
  CHECK(bench.others_go_on());
}

TEST_CASE("F030_a task that leaves, kills its group or itself is lost alone") {
  Zoo bench;
  const struct {
    const char* how;
    int signal, status;
    const char* says;
  } rows[] = {{"exit", 0, 3, "called exit with status 3"},
              {"_exit", 0, 4, "exited with status 4"},
              {"quick_exit", 0, 5, "called exit with status 5"},
              {"group", SIGKILL, 0, "SIGKILL"},
              {"kill", SIGKILL, 0, "SIGKILL"}};
  for (const auto& row : rows) {
    CAPTURE(row.how);
    const Outcome outcome = bench.run("zoo.crash", {row.how});
    CHECK(outcome.kind == Outcome::Kind::lost);
    CHECK(outcome.exit_signal == row.signal);
    CHECK(outcome.exit_status == row.status);
    CHECK(says(outcome.evidence, row.says));
    if (std::string_view(row.how) == "exit" && !kSanitized) CHECK(says(outcome.traceback, "zoo::crash("));
    CHECK(bench.others_go_on());
  }
}

TEST_CASE("F030_no process outlives its task, however far it has forked itself away") {
  Zoo bench;
  const Outcome left = bench.run("zoo.daemon");
  REQUIRE(left.kind == Outcome::Kind::success);
  CHECK_FALSE(alive(std::stoll(left.result_json)));
  // The copy that returns from a fork is no second child: the task has one outcome.
  const std::uint64_t twice = bench.start("zoo.fork_and_return");
  CHECK(bench.sink.outcome(twice).kind == Outcome::Kind::success);
  CHECK(bench.others_go_on());
  CHECK(bench.sink.ends_[twice] == 1);
  for (const int pid : bench.pool->processes()) CHECK(core::children_of(pid).empty());
}

TEST_CASE("F031_a task that loops or blocks is asked at its soft limit, killed at its hard one within a second") {
  Zoo bench;
  Execution asked = bench.execution("polite");
  asked.soft_time_limit = 50ms;
  asked.time_limit = 20s;
  CHECK(says(bench.sink.outcome(bench.start(asked)).error_text, "SoftTimeLimitExceeded"));
  for (const char* task : {"zoo.spin", "zoo.block"}) {
    CAPTURE(task);
    Execution deaf = bench.execution(task);
    deaf.soft_time_limit = 30ms;
    deaf.time_limit = 300ms;
    const Outcome outcome = bench.sink.outcome(bench.start(deaf));
    CHECK(outcome.kind == Outcome::Kind::timed_out);
    CHECK(outcome.limit == 300ms);
    CHECK(outcome.duration >= 300ms);
    CHECK(outcome.duration < 1300ms);
    CHECK(says(outcome.evidence, "killed by the worker"));
    CHECK(bench.others_go_on());
  }
}

TEST_CASE("F033_what tasks leak goes with their children: descriptors and memory of the supervisor stay") {
  Zoo bench({.concurrency = 2, .max_tasks_per_child = 20, .max_memory_per_child_kib = 64u << 10});
  const auto some = [&](std::size_t count) {
    std::vector<Execution> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(bench.execution("zoo.leak", {std::int64_t{1} << 20}));
    const std::size_t before = bench.sink.outcomes_.size();
    bench.pool->run(all);
    REQUIRE(bench.sink.wait([&] { return bench.sink.outcomes_.size() == before + count; }, 120s));
    // What the recorder keeps is not the pool's.
    for (auto& [run, outcome] : bench.sink.outcomes_) outcome = {};
  };
  some(300);
  const std::size_t descriptors = open_descriptors();
  const long memory = resident_kib();
  some(600);
  CHECK(soon([&] { return open_descriptors() <= descriptors; }));
  if (!kSanitized) CHECK(resident_kib() < memory + 4'096);
  for (const auto& [run, times] : bench.sink.ends_) CHECK(times == 1);
}

TEST_CASE("F033_a child that has grown beyond its memory is replaced after its task") {
  if (kSanitized) return;
  Zoo bench({.concurrency = 1, .max_memory_per_child_kib = 32u << 10});
  const Outcome first = bench.run("zoo.leak", {std::int64_t{48} << 20});
  CHECK(first.kind == Outcome::Kind::success);
  CHECK(bench.run("zoo.pid").result_json != first.result_json);
}

TEST_CASE("F035_a task that damages its process keeps its outcome, and the next task gets another process") {
  Zoo bench({.concurrency = 1});
  for (const char* what : {"descriptors", "reused", "folder", "umask", "signals", "locale"}) {
    CAPTURE(what);
    const std::uint64_t run = bench.start("zoo.damage", {what});
    const Outcome outcome = bench.sink.outcome(run);
    CHECK(outcome.kind == Outcome::Kind::success);
    const Outcome next = bench.run("zoo.pid");
    CHECK(next.kind == Outcome::Kind::success);
    CHECK(next.result_json != outcome.result_json);
    CHECK(bench.run("zoo.pid").result_json == next.result_json);  // sound ones stay
    CHECK(bench.sink.ends_[run] == 1);
  }
}

TEST_CASE("F036_a flood of output is drained, the task ends, and others are not kept waiting") {
  Zoo bench;
  const struct {
    std::int64_t bytes, line;
    const char* ends_with;
  } rows[] = {{64 << 20, 1'000, "\n"}, {64 << 20, 1'000'000, ""}, {1 << 20, 10, "\x1b[31m\x07\n"}};
  for (const auto& row : rows) {
    const std::uint64_t flood = bench.start("zoo.output", {row.bytes, row.line, row.ends_with});
    for (int i = 0; i < 20; ++i) CHECK(bench.others_go_on());
    CHECK(bench.sink.outcome(flood).kind == Outcome::Kind::success);
  }
}

TEST_CASE("F037_results and error texts of 100 MB end as outcomes of a few words") {
  Zoo bench({.concurrency = 1, .max_result_bytes = 1u << 20});
  const Outcome result = bench.run("zoo.result", {100'000'000});
  CHECK(result.kind == Outcome::Kind::failure);
  CHECK(says(result.error_text, "max_result_bytes"));
  CHECK(says(result.error_text, "100000002"));
  const Outcome error = bench.run("zoo.error", {100'000'000});
  CHECK(error.kind == Outcome::Kind::failure);
  CHECK(error.result_json.size() < (1u << 20));
  CHECK(error.error_text.size() < (1u << 20));
  CHECK(bench.others_go_on());
}

TEST_CASE("F038_a flood of progress becomes two reports a second, growing, and the last one arrives") {
  Zoo bench;
  const Outcome outcome = bench.run("zoo.progress", {2.0});
  const std::int64_t last = std::stoll(outcome.result_json);
  CHECK(last > 10'000);
  REQUIRE(bench.sink.progress_.size() >= 2);
  CHECK(bench.sink.progress_.size() <= 7);  // at once, every half second, and the last
  std::int64_t before = 0;
  for (const Progress& one : bench.sink.progress_) {
    const std::int64_t now = parse_json(one.meta_json).as_object().find("current")->as_integer();
    CHECK(now > before);
    before = now;
  }
  CHECK(before == last);
}

TEST_CASE("F021_when the supervisor is killed nothing of it goes on: no child, no process a task has forked away") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    close(ends[0]);
    Zoo bench;
    // A task whose daemon is there while it runs.
    const std::uint64_t naps = bench.start("zoo.nap", {600.0});
    bench.sink.wait([&] { return bench.sink.started_.count(naps) > 0; });
    bench.start("zoo.fork_bomb", {8});
    std::vector<int> pids;
    soon([&] {
      pids = bench.pool->processes();
      for (std::size_t i = 0; i < pids.size(); ++i) {
        for (const pid_t one : core::children_of(pids[i])) pids.push_back(one);
      }
      return pids.size() >= 2 + 4;
    });
    pids.insert(pids.begin(), static_cast<int>(pids.size()));
    static_cast<void>(!write(ends[1], pids.data(), pids.size() * sizeof(int)));
    for (;;) pause();
  }
  close(ends[1]);
  std::vector<int> pids(64);
  const ssize_t got = read(ends[0], pids.data(), pids.size() * sizeof(int));
  kill(supervisor, SIGKILL);
  waitpid(supervisor, nullptr, 0);
  REQUIRE(got > static_cast<ssize_t>(6 * sizeof(int)));
  pids.resize(static_cast<std::size_t>(got) / sizeof(int));
  pids.erase(pids.begin());
  for (const int pid : pids) {
    CAPTURE(pid);
    // Gone, or waiting for whoever inherits orphans here to look.
    CHECK(soon([&] {
      std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
      std::string text;
      std::getline(stat, text);  // fails, and does not throw, when the process ends under it
      const auto name_end = text.rfind(") ");
      return name_end == std::string::npos || text[name_end + 2] == 'Z';
    }));
  }
  close(ends[0]);
}

TEST_CASE("F022_a service manager that signals every process of the service ends no task") {
  Zoo bench({.concurrency = 1});
  const std::uint64_t naps = bench.start("zoo.busy", {0.3});
  REQUIRE(bench.sink.wait([&] { return bench.sink.started_.count(naps) > 0; }));
  for (const int pid : bench.pool->processes()) kill(pid, SIGTERM);
  for (const int pid : core::children_of(getpid())) kill(pid, SIGTERM);
  CHECK(bench.sink.outcome(naps).kind == Outcome::Kind::success);
  CHECK(bench.others_go_on());
}

TEST_CASE("the process that forks children may die, too: another one takes its place") {
  if (kSanitized) return;  // ThreadSanitizer allows no threads after such a fork
  Zoo bench({.concurrency = 1});
  CHECK(bench.others_go_on());
  const std::vector<pid_t> below = core::children_of(getpid());
  REQUIRE(below.size() == 1);
  kill(below.front(), SIGKILL);
  CHECK(bench.others_go_on());
}
