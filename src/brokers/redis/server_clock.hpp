#pragma once
// ServerClock: what a server's clock shows now, from answers that carry its time, as NTP reasons about one exchange. The
// server read its clock between our asking and our hearing: the true distance of its clock from our steady one is in
// [time - heard, time - asked]. Each answer narrows what is known, and one that excludes it (the clock was set) replaces
// it. Of the range the lower end is used: who plans with this clock is never early by more than the fastest answer took.

#include <errand/time.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace errand::redis {

class ServerClock {
 public:
  /// An answer with the server's time, in microseconds since 1970; asked before the request left, heard when it was read.
  void heard(std::int64_t server_us, SteadyPoint asked, SteadyPoint heard) noexcept {
    const std::int64_t least = server_us - micros(heard), most = server_us - micros(asked);
    distance_us_ = distance_us_ && *distance_us_ <= most ? std::max(*distance_us_, least) : least;
  }

  bool known() const noexcept { return distance_us_.has_value(); }

  /// Microseconds since 1970; 0 while nothing was heard.
  std::int64_t now_us(SteadyPoint now) const noexcept { return distance_us_ ? *distance_us_ + micros(now) : 0; }

 private:
  static std::int64_t micros(SteadyPoint at) noexcept {
    return std::chrono::duration_cast<Microseconds>(at.time_since_epoch()).count();
  }
  std::optional<std::int64_t> distance_us_;  // server's wall clock minus our steady one, from below
};

}  // namespace errand::redis
