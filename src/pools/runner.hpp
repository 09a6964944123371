#pragma once
// The runner: one attempt of one task, in the process and on the thread where its body runs. Every pool uses it.

#include <errand/pool.hpp>

#include <atomic>
#include <functional>
#include <string>

namespace errand::pools {

/// How a running task is told to stop, and how it speaks meanwhile. Shared between the thread that runs and the one
/// that controls; the strings are written before the flag that publishes them.
class RunControl {
 public:
  /// The soft limit passed: the task should end.
  void pass_soft_limit() noexcept { soft_.store(true, std::memory_order_release); }
  /// Revoked, or the worker stops.
  void ask_to_stop(std::string_view reason);
  bool soft_limit_passed() const noexcept { return soft_.load(std::memory_order_acquire); }
  std::string_view stop_reason() const noexcept;
  void reset();

 private:
  std::atomic<bool> soft_{false};
  std::atomic<bool> stop_{false};
  std::string reason_;
};

/// What the runner needs besides the message.
struct RunnerOptions {
  bool extended_results = false;
  bool typed_json = true;
  std::size_t max_result_bytes = 16u << 20;
  std::string hostname;
  const Clock* clock = nullptr;  ///< unset: the machine's; the simulator has its own
};

struct RunnerHost {
  std::function<void(Progress)> progress;
  std::function<void(std::string_view line)> log;
};

/// Runs it; never throws. The duration is measured with the monotonic clock.
Outcome run_task(const Registry& registry, const Execution& execution, const RunnerOptions& options,
                 RunControl& control, const RunnerHost& host);

}  // namespace errand::pools
