#pragma once
// Rate limits: when the next task of a type may start here. Pure.

#include "worker/inputs.hpp"

namespace errand::worker {

/// Celery's token bucket of capacity one. A message that comes too early is parked at the broker until a token
/// it is promised, so that limited tasks neither fill the prefetch buffer nor starve others, and each waits about
/// once. Tokens fall due on a fixed grid while there is demand: the average never exceeds the limit.
class RateGate {
 public:
  explicit RateGate(RateLimit limit = {}) { set(limit); }
  void set(RateLimit limit);
  /// nullopt: a token was taken, start now. Otherwise try again then.
  std::optional<TimePoint> take(Now now);

 private:
  std::chrono::nanoseconds interval_{0};       // zero: no limit
  SteadyPoint next_ = SteadyPoint::min();      // when the next token falls due
  SteadyPoint promised_ = SteadyPoint::min();  // the last token somebody was told to come back for
};

}  // namespace errand::worker
