#include <errand/time.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace errand {

Deadline Deadline::after(std::chrono::nanoseconds wait) noexcept {
  const SteadyPoint now = std::chrono::steady_clock::now();
  return Deadline{wait > SteadyPoint::max() - now ? SteadyPoint::max() : now + wait};
}

std::optional<std::chrono::nanoseconds> Deadline::remaining() const noexcept {
  if (!point_) return std::nullopt;
  const auto now = std::chrono::steady_clock::now();
  if (*point_ <= now) return std::chrono::nanoseconds{0};
  return *point_ - now;
}

int Deadline::poll_timeout() const noexcept {
  constexpr Milliseconds kMost = std::chrono::hours{1};
  const auto left = remaining();
  if (!left) return -1;
  return static_cast<int>(std::min(kMost, std::chrono::ceil<Milliseconds>(*left)).count());
}

Deadline Deadline::earlier(Deadline other) const noexcept {
  if (!point_) return other;
  if (!other.point_) return *this;
  return *point_ <= *other.point_ ? *this : other;
}

TimePoint SystemClock::now() const {
  return std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
}
SteadyPoint SystemClock::steady() const { return std::chrono::steady_clock::now(); }

ManualClock::ManualClock(TimePoint start) : wall_(start), steady_(std::chrono::hours{1}) {}

TimePoint ManualClock::now() const {
  const std::lock_guard lock(mutex_);
  return wall_;
}

SteadyPoint ManualClock::steady() const {
  const std::lock_guard lock(mutex_);
  return steady_;
}

void ManualClock::advance(std::chrono::nanoseconds by) {
  const std::lock_guard lock(mutex_);
  wall_ += std::chrono::duration_cast<Microseconds>(by);
  steady_ += std::chrono::duration_cast<SteadyPoint::duration>(by);
}

void ManualClock::step_wall(std::chrono::microseconds by) {
  const std::lock_guard lock(mutex_);
  wall_ += by;
}

double to_unix_seconds(TimePoint point) noexcept { return static_cast<double>(point.time_since_epoch().count()) / 1e6; }

TimePoint from_unix_seconds(double seconds) noexcept {
  constexpr double kMost = 253'402'300'799.0;  // the end of the year 9999
  const double inside = std::isnan(seconds) ? 0.0 : std::clamp(seconds, -kMost, kMost);
  return TimePoint{Microseconds{std::llround(inside * 1e6)}};
}

}  // namespace errand
