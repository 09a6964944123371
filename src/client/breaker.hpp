#pragma once
// Circuit breaker: after some failures in a row a store that is away is not asked again for a while, so that callers
// fail at once instead of waiting one after another (fault F003). Pure.

#include <errand/time.hpp>

#include <cstdint>

namespace errand::client {

class Breaker {
 public:
  static constexpr std::uint32_t kOpensAfter = 5;
  static constexpr Milliseconds kProbeEvery{5'000};

  /// False: do not try. While open, true once every kProbeEvery: that caller is the probe.
  bool allows(SteadyPoint now) noexcept {
    if (!open()) return true;
    if (now < probe_at_) return false;
    probe_at_ = now + kProbeEvery;
    return true;
  }
  void succeeded() noexcept { failures_ = 0; }
  void failed(SteadyPoint now) noexcept {
    if (failures_ < kOpensAfter) failures_ += 1;
    if (open()) probe_at_ = now + kProbeEvery;
  }
  bool open() const noexcept { return failures_ >= kOpensAfter; }

 private:
  std::uint32_t failures_ = 0;
  SteadyPoint probe_at_{};
};

}  // namespace errand::client
