// Intervals: every so many milliseconds of real time.
#include "times.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;

// GN-27 has intervals of 63 and 66 minutes: nothing that a crontab could say.
TEST_CASE("GN-27: an interval counts from its anchor, over every day and hour") {
  const Interval schedule(63min, at("2026-03-28 23:00"));
  CHECK(due_between(schedule, at("2026-03-28 23:00"), at("2026-03-29 03:00")) ==
        std::vector<TimePoint>{at("2026-03-29 00:03"), at("2026-03-29 01:06"), at("2026-03-29 02:09")});
  CHECK(Interval(66min, at("2026-03-28 23:00")).next(at("2026-03-29 00:00")) == at("2026-03-29 00:06"));
}

TEST_CASE("interval: nothing is due before the anchor, and the anchor is") {
  const TimePoint anchor = at("2026-03-28 23:00");
  const Interval schedule(1h, anchor);
  CHECK(schedule.next(TimePoint::min()) == anchor);
  CHECK(schedule.next(anchor - 1us) == anchor);
  CHECK(schedule.next(anchor) == anchor + 1h);
  CHECK(schedule.next(anchor + 1h - 1us) == anchor + 1h);
  CHECK(schedule.next(anchor + 1h) == anchor + 2h);
}

TEST_CASE("interval: the shortest, the longest and the end") {
  CHECK(Interval(1ms).next(at("2026-01-01 00:00")) == at("2026-01-01 00:00") + 1ms);
  CHECK(Interval(36'525 * 24h).next(at("1970-01-01 00:00")) == at("2070-01-01 00:00"));
  CHECK(Interval(36'525 * 24h).next(at("2170-01-02 00:00")) == std::nullopt);
  CHECK(Interval(1ms).next(TimePoint::max()) == std::nullopt);
  CHECK(Interval(1h, at("2300-01-01 00:00")).next(at("2026-01-01 00:00")) == std::nullopt);
  CHECK(Interval(1h, at("0001-01-01 00:00")).next(at("2026-01-01 00:00")) == at("2026-01-01 01:00"));
}

TEST_CASE("interval: nothing, a negative one, and one that nobody lives to see are refused") {
  for (const Milliseconds every :
       {0ms, -1ms, Milliseconds::min(), Milliseconds::max(), Milliseconds{36'525 * 24h} + 1ms}) {
    CAPTURE(every.count());
    CHECK_THROWS_WITH_AS(Interval{every}, doctest::Contains("interval: expected 1 ms to 36525 days, got"), Error);
  }
  CHECK_THROWS_WITH_AS(Interval(1h, TimePoint::max()), doctest::Contains("within the years 1 to 9999"), Error);
  CHECK_THROWS_AS(Interval(1h, TimePoint::min()), Error);
}
