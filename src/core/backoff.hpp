#pragma once
// How long to wait before trying again: each failure doubles the longest wait up to a cap, and the wait itself is
// drawn from all of it ("full jitter"), because a thousand workers that lost the same broker must not come back in
// the same moment.
//
//   Backoff backoff({.first = 200ms, .cap = 30s});
//   fetch_after = now + backoff.next();      // after a failure
//   backoff.reset();                         // after a success

#include <errand/time.hpp>

#include <cstdint>

namespace errand::core {

struct BackoffLimits {
  Milliseconds first{200};   ///< longest wait after the first failure
  Milliseconds cap{30'000};  ///< longest wait ever
  Milliseconds at_least{0};  ///< shortest wait, so that a lucky draw is not a busy loop
};

/// For connections to a broker or store that went away: quick at first, since most are back at once.
inline constexpr BackoffLimits kReconnect{
    .first = Milliseconds{200}, .cap = Milliseconds{30'000}, .at_least = Milliseconds{50}};

/// The wait after `failures` failures before this one. `uniform` is in [0, 1). Pure; never overflows.
Milliseconds full_jitter(const BackoffLimits& limits, std::uint32_t failures, double uniform) noexcept;

/// Counts failures and draws. Not synchronised.
class Backoff {
 public:
  explicit Backoff(BackoffLimits limits = {}) noexcept : limits_(limits) {}
  Milliseconds next();
  void reset() noexcept { failures_ = 0; }
  std::uint32_t failures() const noexcept { return failures_; }

 private:
  BackoffLimits limits_;
  std::uint32_t failures_ = 0;
};

}  // namespace errand::core
