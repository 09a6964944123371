#include "core/backoff.hpp"

#include "core/uuid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace errand::core {

Milliseconds full_jitter(const BackoffLimits& limits, std::uint32_t failures, double uniform) noexcept {
  const double cap = static_cast<double>(std::max<std::int64_t>(limits.cap.count(), 0));
  // In doubles, so that 2^failures saturates at the cap instead of wrapping.
  const double grown = static_cast<double>(limits.first.count()) * std::exp2(std::min<double>(failures, 1000.0));
  const double longest = std::clamp(grown, 0.0, cap);
  const Milliseconds drawn{static_cast<std::int64_t>(longest * std::clamp(uniform, 0.0, 1.0))};
  return std::max(drawn, std::min(limits.at_least, limits.cap));
}

Milliseconds Backoff::next() {
  const double uniform = static_cast<double>(random_bits() >> 11) * 0x1p-53;
  const Milliseconds wait = full_jitter(limits_, failures_, uniform);
  if (failures_ < std::numeric_limits<std::uint32_t>::max()) failures_ += 1;
  return wait;
}

}  // namespace errand::core
