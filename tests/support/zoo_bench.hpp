#pragma once
// A pool of processes with the tasks of support/task_zoo.hpp, and what tests of what it survives ask again and again.

#include "support/pool_bench.hpp"
#include "support/task_zoo.hpp"

#include <poll.h>
#include <unistd.h>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace errand::testing {

inline constexpr Task<std::int64_t(std::int64_t, std::int64_t)> add{"add", {"x", "y"}};
inline constexpr Task<std::string()> polite{"polite"};

struct Zoo : PoolBench {
  explicit Zoo(PoolOptions options = {.concurrency = 2}) {
    zoo::add_to(registry);
    registry.add(add, [](std::int64_t x, std::int64_t y) { return x + y; });
    registry.add(polite, [](TaskContext& task) -> std::string {
      for (;;) {
        task.check_cancelled();
        usleep(500);  // work: stands for a task that computes in small steps
      }
    });
    go("prefork", std::move(options));
  }
  ~Zoo() { stop(); }

  // Others go on, and this process is what it was (I23).
  bool others_go_on() { return run("add", {20, 22}).result_json == "42" && getpid() == supervisor; }
  Outcome limited(std::string task, Array args, ResourceLimits limits) {
    Execution one = execution(std::move(task), std::move(args));
    one.limits = limits;
    return sink.outcome(start(std::move(one)));
  }
  const pid_t supervisor = getpid();
};

inline bool says(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

template <class F>
bool soon(F&& condition, std::chrono::seconds limit = 30s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    poll(nullptr, 0, 5);
  }
  return true;
}

inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace errand::testing
