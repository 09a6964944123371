#include "worker/rate.hpp"

#include <algorithm>

namespace errand::worker {

void RateGate::set(RateLimit limit) {
  next_ = promised_ = SteadyPoint::min();
  interval_ = limit.tasks > 0 ? std::chrono::nanoseconds(static_cast<std::int64_t>(
                                    std::chrono::duration<double, std::nano>(limit.per).count() / limit.tasks))
                              : std::chrono::nanoseconds{0};
}

std::optional<TimePoint> RateGate::take(Now now) {
  if (interval_.count() == 0) return std::nullopt;
  if (next_ <= now.steady) {
    // The grid is kept while messages come back a little late; after a pause it starts anew, without a burst.
    next_ = next_ > now.steady - interval_ ? next_ + interval_ : now.steady + interval_;
    return std::nullopt;
  }
  promised_ = std::max(promised_ + interval_, next_);
  return now.wall + std::chrono::ceil<std::chrono::microseconds>(promised_ - now.steady);
}

}  // namespace errand::worker
