#pragma once
// ServerClock: what a server's clock shows now, from answers that carry its time, as NTP reasons about one exchange.
// The server read its clock between our asking and our hearing: the true distance of its clock from our steady one is
// in [time - heard, time - asked]. Each answer narrows what is known, and one that excludes it (the clock was set, or
// the two have drifted apart) replaces it.

#include <errand/time.hpp>

#include <algorithm>
#include <cstdint>

namespace errand::redis {

class ServerClock {
 public:
  /// An answer with the server's time, in microseconds since 1970; asked before the request left, heard when it was
  /// read.
  void heard(std::int64_t server_us, SteadyPoint asked, SteadyPoint heard) noexcept {
    const std::int64_t least = server_us - micros(heard), most = server_us - micros(asked);
    const bool agrees = known_ && least <= most_ && most >= least_;
    least_ = agrees ? std::max(least_, least) : least;
    most_ = agrees ? std::min(most_, most) : most;
    known_ = true;
  }

  bool known() const noexcept { return known_; }

  /// The least it can show, in microseconds since 1970; 0 while nothing was heard.
  std::int64_t now_us(SteadyPoint now) const noexcept { return known_ ? least_ + micros(now) : 0; }

  /// How much more it may show than that: what is to happen a while after now, and never earlier, is put off by as
  /// much.
  Microseconds doubt() const noexcept { return Microseconds{most_ - least_}; }

 private:
  static std::int64_t micros(SteadyPoint at) noexcept {
    return std::chrono::duration_cast<Microseconds>(at.time_since_epoch()).count();
  }
  bool known_ = false;
  std::int64_t least_ = 0, most_ = 0;  // server's wall clock minus our steady one
};

}  // namespace errand::redis
