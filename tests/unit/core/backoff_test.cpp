#include "core/backoff.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <set>

using namespace errand;
using namespace std::chrono_literals;
using core::Backoff;
using core::BackoffLimits;
using core::full_jitter;

TEST_CASE("the longest wait doubles with each failure up to the cap, and never wraps") {
  constexpr BackoffLimits kLimits{.first = 200ms, .cap = 30s};
  constexpr double kLast = 1.0;  // outside [0, 1), as a rounding slip would be: taken as the whole wait
  const Milliseconds waits[] = {200ms, 400ms, 800ms, 1600ms, 3200ms, 6400ms, 12'800ms, 25'600ms, 30s, 30s};
  std::uint32_t failures = 0;
  for (const Milliseconds wait : waits) CHECK(full_jitter(kLimits, failures++, kLast) == wait);
  CHECK(full_jitter(kLimits, 63, kLast) == 30s);
  CHECK(full_jitter(kLimits, 64, kLast) == 30s);
  CHECK(full_jitter(kLimits, std::numeric_limits<std::uint32_t>::max(), kLast) == 30s);
}

TEST_CASE("the draw takes the wait from all of the range") {
  constexpr BackoffLimits kLimits{.first = 1s, .cap = 10s, .at_least = 20ms};
  CHECK(full_jitter(kLimits, 2, 0.0) == 20ms);
  CHECK(full_jitter(kLimits, 2, 0.5) == 2s);
  CHECK(full_jitter(kLimits, 2, 0.25) == 1s);
  CHECK(full_jitter({.first = 0ms, .cap = 0ms}, 5, 0.9) == 0ms);
  CHECK(full_jitter({.first = 1s, .cap = -1s}, 5, 0.9) <= 0ms);
}

TEST_CASE("a success starts again from the first wait, and two waiters do not wait alike") {
  Backoff backoff({.first = 1h, .cap = 24h});
  std::set<Milliseconds> drawn;
  for (int i = 0; i < 20; ++i) drawn.insert(backoff.next());
  CHECK(drawn.size() > 15);
  CHECK(backoff.failures() == 20);
  CHECK(*drawn.rbegin() <= 24h);
  backoff.reset();
  CHECK(backoff.next() <= 1h);
}
