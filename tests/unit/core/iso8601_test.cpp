#include "core/iso8601.hpp"

#include <doctest/doctest.h>

#include <chrono>

using namespace errand;
using core::format_iso8601;
using core::parse_iso8601;

namespace {

const TimePoint kPoint{std::chrono::microseconds{1'795'326'234'166'995}};

}  // namespace

TEST_CASE("a time is written with microseconds and offset") {
  CHECK(format_iso8601(kPoint) == "2026-11-22T05:43:54.166995+00:00");
  CHECK(format_iso8601(TimePoint{}) == "1970-01-01T00:00:00.000000+00:00");
  CHECK(format_iso8601(TimePoint{std::chrono::microseconds{-1}}) == "1969-12-31T23:59:59.999999+00:00");
}

TEST_CASE("points outside the years 1 to 9999 are moved to the nearest inside") {
  CHECK(format_iso8601(TimePoint::max()) == "9999-12-31T23:59:59.999999+00:00");
  CHECK(format_iso8601(TimePoint::min()) == "0001-01-01T00:00:00.000000+00:00");
  CHECK(parse_iso8601(format_iso8601(TimePoint::max())));
  CHECK(parse_iso8601(format_iso8601(TimePoint::min())));
}

TEST_CASE("every form that peers write is read") {
  for (const char* text :
       {"2026-11-22T05:43:54.166995+00:00", "2026-11-22T05:43:54.166995", "2026-11-22T05:43:54.166995Z",
        "2026-11-22 05:43:54.166995", "2026-11-22T05:43:54.166995999", "2026-11-22T14:43:54.166995+09:00",
        "2026-11-22T14:43:54.166995+0900", "2026-11-22T14:43:54.166995+09", "2026-11-22T00:13:54,166995-05:30"}) {
    CAPTURE(text);
    CHECK(parse_iso8601(text) == kPoint);
  }
  CHECK(parse_iso8601("2026-11-22T05:43") == kPoint - std::chrono::microseconds{54'166'995});
  CHECK(parse_iso8601("2026-11-22T05:43:54.5Z") == kPoint + std::chrono::microseconds{333'005});
  CHECK(parse_iso8601("2024-02-29T00:00:00"));
}

TEST_CASE("what is no time or no day is refused") {
  for (const char* text : {"",
                           "2026",
                           "2026-11-22",
                           "2026-11-22T",
                           "2026-13-01T00:00:00",
                           "2026-02-30T00:00:00",
                           "2023-02-29T00:00:00",
                           "2026-11-22T24:00:00",
                           "2026-11-22T05:60:00",
                           "2026-11-22T05:43:60",
                           "2026-11-22T05:43:54.",
                           "2026-11-22T05:43:54+",
                           "2026-11-22T05:43:54+1",
                           "2026-11-22T05:43:54+25:00",
                           "2026-11-22T05:43:54 x",
                           "0000-01-01T00:00:00",
                           "0001-01-01T00:00:00+00:01",
                           "9999-12-31T23:59:59-00:01",
                           "-026-11-22T05:43:54",
                           "2026-11-22T05:43:5\xff",
                           "tomorrow"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_iso8601(text));
  }
}
