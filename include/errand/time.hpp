#pragma once
// Time: wall-clock points for what users and peers see, steady points for every wait.
//
// All waiting is done on deadlines that are passed down, never on durations that restart.

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

namespace errand {

using Milliseconds = std::chrono::milliseconds;
using Microseconds = std::chrono::microseconds;

/// Wall-clock time in UTC with Python's precision (microseconds).
using TimePoint = std::chrono::sys_time<std::chrono::microseconds>;

/// Monotonic time, for measuring and waiting inside one process.
using SteadyPoint = std::chrono::steady_clock::time_point;

/// Until when to wait. A value; cheap to copy.
class Deadline {
 public:
  static Deadline never() noexcept { return Deadline{}; }
  static Deadline at(SteadyPoint point) noexcept { return Deadline{point}; }
  /// From now on; a wait beyond what the clock can count ends with the clock.
  static Deadline after(std::chrono::nanoseconds wait) noexcept;
  /// Already passed: look, but do not wait.
  static Deadline now() noexcept { return Deadline{SteadyPoint::min()}; }

  bool is_never() const noexcept { return !point_; }
  bool passed() const noexcept { return point_ && *point_ <= std::chrono::steady_clock::now(); }
  /// Time left, at least zero; nullopt: for ever.
  std::optional<std::chrono::nanoseconds> remaining() const noexcept;
  /// For poll(2) and friends: -1 for ever, rounded up so that waking is never early. At most one hour.
  int poll_timeout() const noexcept;
  std::optional<SteadyPoint> point() const noexcept { return point_; }
  Deadline earlier(Deadline other) const noexcept;

 private:
  Deadline() = default;
  explicit Deadline(SteadyPoint point) : point_(point) {}
  std::optional<SteadyPoint> point_;
};

/// Where a component gets its time from. Implementations are safe to use from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;       ///< wall clock
  virtual SteadyPoint steady() const = 0;  ///< monotonic clock
};

/// The machine's clocks.
class SystemClock final : public Clock {
 public:
  TimePoint now() const override;
  SteadyPoint steady() const override;
};

/// A clock that a test moves by hand. Both readings advance together.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(TimePoint start = TimePoint{std::chrono::seconds{1'800'000'000}});
  TimePoint now() const override;
  SteadyPoint steady() const override;
  void advance(std::chrono::nanoseconds by);
  /// Moves the wall clock alone, as an administrator or NTP would.
  void step_wall(std::chrono::microseconds by);

 private:
  mutable std::mutex mutex_;
  TimePoint wall_;
  SteadyPoint steady_;
};

/// Seconds since 1970 as Python's time.time() gives them.
double to_unix_seconds(TimePoint point) noexcept;
TimePoint from_unix_seconds(double seconds) noexcept;

}  // namespace errand
