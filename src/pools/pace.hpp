#pragma once
// Pace: how many executions may be with one slot (a child process, a thread) at a time, from what the last ones took.
// Short ones pile up, so that handing them over costs little and every hop carries many; behind a long one nothing
// waits, and large ones do not fill the memory.

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace errand::pools {

class Pace {
 public:
  /// Behind a task that runs longer nothing waits.
  static constexpr std::chrono::milliseconds kLongRun{10};

  void ran(std::chrono::nanoseconds duration, std::size_t bytes) noexcept {
    const double seconds = std::max(kShortest, std::chrono::duration<double>(duration).count());
    seconds_ = seconds_ <= 0 ? seconds : seconds_ * (1 - kWeight) + seconds * kWeight;
    bytes_ = bytes_ * (1 - kWeight) + static_cast<double>(bytes) * kWeight;
  }

  /// From 1 to `most`; 1 until something has run.
  std::size_t depth(std::size_t most) const noexcept {
    if (seconds_ <= 0 || most <= 1) return std::min<std::size_t>(1, most);
    const double by_size = bytes_ <= 0 ? static_cast<double>(most) : kBytes / bytes_;
    const double depth = std::min(kSeconds / seconds_, by_size);
    return depth >= static_cast<double>(most) ? most : std::max<std::size_t>(1, static_cast<std::size_t>(depth));
  }

 private:
  static constexpr double kSeconds = 0.002;   // of queued work that hide the hand-over
  static constexpr double kBytes = 1u << 20;  // of queued messages
  static constexpr double kShortest = 1e-6;
  static constexpr double kWeight = 0.2;  // of the newest in the moving averages
  double seconds_ = 0, bytes_ = 0;
};

}  // namespace errand::pools
