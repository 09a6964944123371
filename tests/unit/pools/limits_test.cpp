// What a pool of processes does at the limits of its tasks and of its machine.
#include "core/process_tree.hpp"
#include "support/zoo_bench.hpp"

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kMostTries = 6;  // to make a process within the time that is watched
constexpr uid_t kNobodyElse = 54'021;  // has no other process, so that a limit of processes is exact

// Runs in a process of its own, because what is taken away there would be missing to the other tests. Returns what it
// wrote to standard error, and "failed" before that when the body says false.
std::string apart(const std::function<bool()>& body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t worker = fork();
  if (worker == 0) {
    close(ends[0]);
    dup2(ends[1], STDERR_FILENO);
    _exit(body() ? 0 : 1);
  }
  close(ends[1]);
  std::string said;
  char piece[4'096];
  for (ssize_t got = read(ends[0], piece, sizeof piece); got > 0; got = read(ends[0], piece, sizeof piece))
    said.append(piece, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(worker, &status, 0);
  return (status == 0 ? "" : "failed: ") + said;
}

void set_soft_limit(pid_t pid, __rlimit_resource resource, rlim_t limit) {
  rlimit both{};
  prlimit(pid, resource, nullptr, &both);
  both.rlim_cur = std::min(limit, both.rlim_max);
  prlimit(pid, resource, &both, nullptr);
}

long used_ms() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec * 1'000 + usage.ru_utime.tv_usec / 1'000 + usage.ru_stime.tv_sec * 1'000 +
         usage.ru_stime.tv_usec / 1'000;
}

// The pool's only child dies and no other can be made, with a task that waits and without one.
bool waits_for_resources(Zoo& bench, const std::function<void(bool taken)>& take) {
  const auto step = [](bool well, const char* what) {
    if (!well) std::fprintf(stderr, "not so: %s\n", what);
    return well;
  };
  bool well = step(bench.others_go_on(), "it works before");
  take(true);
  bench.run("zoo.crash", {"kill"});
  well = step(soon([&] { return bench.pool->free_slots() == 0; }), "nothing is taken") && well;
  std::size_t rooms = 0;
  bench.sink.wait([&] { return (rooms = bench.sink.rooms_, true); });
  take(false);
  well = step(bench.sink.wait([&] { return bench.sink.rooms_ > rooms; }), "room is told") && well;
  well = step(bench.others_go_on(), "it works again") && well;

  take(true);
  bench.run("zoo.crash", {"kill"});
  std::size_t ended = 0;
  bench.sink.wait([&] { return (ended = bench.sink.ended_.size(), true); });
  const std::uint64_t waits = bench.start("zoo.pid");
  const long before = used_ms();
  poll(nullptr, 0, 1'500);
  well = step(used_ms() - before < 150, "nothing spins") && well;
  well = step(bench.sink.wait([&] { return bench.sink.ended_.size() <= ended + kMostTries; }, 0s), "few tries") && well;
  well = step(!bench.sink.wait([&] { return bench.sink.outcomes_.count(waits) > 0; }, 0s), "the task waits") && well;
  take(false);
  return step(bench.sink.outcome(waits).kind == Outcome::Kind::success, "and runs") && well;
}

// With a limit on what the user of the forking process may have. Root knows none, so it becomes somebody else.
std::string without_processes(rlim_t most) {
  return apart([&] {
    if (getuid() == 0 && setresuid(kNobodyElse, kNobodyElse, kNobodyElse) != 0) return false;
    rlimit before{};
    getrlimit(RLIMIT_NPROC, &before);
    Zoo bench({.concurrency = 1});
    const std::vector<pid_t> below = core::children_of(getpid());
    return below.size() == 1 && waits_for_resources(bench, [&](bool taken) {
             set_soft_limit(below.front(), RLIMIT_NPROC, taken ? most : before.rlim_cur);
           });
  });
}

}  // namespace

TEST_CASE("F034_without descriptors nothing spins, it is said once, and children come back by themselves") {
  const std::string said = apart([] {
    Zoo bench({.concurrency = 1});
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    return waits_for_resources(
        bench, [&](bool taken) { set_soft_limit(0, RLIMIT_NOFILE, taken ? open_descriptors() - 1 : before.rlim_cur); });
  });
  CAPTURE(said);
  CHECK_FALSE(says(said, "failed"));
  CHECK(says(said, "E-RESOURCE"));
}

TEST_CASE("F034_without processes nothing spins, it is said once, and children come back by themselves") {
  const std::string said = without_processes(1);
  CAPTURE(said);
  CHECK_FALSE(says(said, "failed"));
  CHECK(says(said, "E-RESOURCE"));
  CHECK(says(said, "fork: Resource temporarily unavailable"));
}

// A child that cannot have its second thread has taken a task by then, and must not count as one that worked.
TEST_CASE("F034_with a process and without a thread for it nothing spins, and children come back by themselves") {
  if (getuid() != 0) {
    std::cout << "[skipped] only root can become a user whose processes are counted\n";
    return;
  }
  if (kThreadSanitized) return;                   // its threads count, too
  const std::string said = without_processes(4);  // this one and its thread, the forking one, the child
  CAPTURE(said);
  CHECK_FALSE(says(said, "failed"));
  CHECK(says(said, "E-RESOURCE"));
  CHECK(says(said, "with status 71"));
}

TEST_CASE(
    "DZ-39: a build that forks endlessly, one that never ends and one that fills the disk are stopped by a limit that "
    "is named") {
  Zoo bench;
  const Outcome forks = bench.limited("zoo.fork_bomb", {400}, {.processes = 20});
  CHECK(forks.kind == Outcome::Kind::lost);
  CHECK(says(forks.exceeded, "processes_limit = 20 (used "));
  CHECK(bench.others_go_on());

  const Outcome spins = bench.limited("zoo.spin", {}, {.cpu_time = 300ms});
  CHECK(spins.kind == Outcome::Kind::lost);
  CHECK(says(spins.exceeded, "cpu_limit = 300ms (used "));
  CHECK(bench.others_go_on());

  char folder[] = "/tmp/errand-fill-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/file";
  const Outcome fills = bench.limited("zoo.fill", {path, std::int64_t{1} << 30}, {.file_size = 4u << 20});
  CHECK(fills.kind == Outcome::Kind::lost);
  CHECK(says(fills.exceeded, "file_size_limit = 4MiB"));
  CHECK(std::filesystem::file_size(path) <= (4u << 20));
  std::filesystem::remove_all(folder);
  CHECK(bench.others_go_on());
}

TEST_CASE("a limit is of one task: the next one in the same process has its own or none") {
  Zoo bench({.concurrency = 1});
  CHECK(bench.limited("zoo.descriptors", {200}, {.open_files = 24}).result_json != "200");
  CHECK(bench.run("zoo.descriptors", {200}).result_json == "200");
}

// Memory file systems do not count: what they hold is memory's limit.
TEST_CASE("DZ-39: a task that writes more to disks than it may is stopped, whatever it does with its files") {
  std::filesystem::path folder;
  for (const std::filesystem::path& one :
       {std::filesystem::temp_directory_path(), std::filesystem::path("/var/tmp"), std::filesystem::current_path()}) {
    std::string name = (one / "errand-disk-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) continue;
    const std::uint64_t before = core::tree_use(getpid()).disk_bytes;
    zoo::fill(name + "/probe", 1 << 20);
    if (core::tree_use(getpid()).disk_bytes > before) {
      folder = name;
      break;
    }
    std::filesystem::remove_all(name);
  }
  if (folder.empty()) {
    std::cout << "[skipped] no folder here is on a disk\n";
    return;
  }
  Zoo bench;
  const Outcome writes =
      bench.limited("zoo.fill", {(folder / "file").string(), std::int64_t{256} << 20}, {.disk = 4u << 20});
  CHECK(writes.kind == Outcome::Kind::lost);
  CHECK(says(writes.exceeded, "disk_limit = 4MiB (used "));
  CHECK(bench.others_go_on());
  std::filesystem::remove_all(folder);
}
