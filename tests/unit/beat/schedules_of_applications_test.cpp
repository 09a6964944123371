// The crontabs of an application that lives in Europe/London, on the two days of the year when clocks change there.
#include "times.hpp"

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

const char* const kSpring[] = {"2026-03-29 00:00", "2026-03-29 23:00"};  // in UTC: a day of 23 hours
const char* const kAutumn[] = {"2026-10-24 23:00", "2026-10-26 00:00"};  // a day of 25 hours

Lines london(const char* schedule, const char* const (&day)[2]) {
  // From the microsecond before the day begins.
  Lines out;
  const TimeZone zone = TimeZone::open("Europe/London");
  for (const TimePoint due : due_between(Crontab::parse(schedule), at(day[0]) - 1us, at(day[1]), zone)) {
    out.push_back(shown(due, zone).substr(5));
  }
  return out;
}

}  // namespace

TEST_CASE("GN-27: an entry at 01:30 Europe/London runs exactly once on both days when clocks change") {
  CHECK(london("30 1 * * *", kSpring) == Lines{"03-29 02:00:00 +60"});
  CHECK(london("30 1 * * *", kAutumn) == Lines{"10-25 01:30:00 +60"});
}

TEST_CASE("F103_what the header promises of Europe/London holds") {
  CHECK(london("*/20 1 * * *", kSpring) == Lines{"03-29 02:00:00 +60"});
  CHECK(london("*/20 1 * * *", kAutumn) == Lines{"10-25 01:00:00 +60", "10-25 01:20:00 +60", "10-25 01:40:00 +60"});
  const TimeZone zone = TimeZone::open("Europe/London");
  const Crontab hourly = Crontab::parse("30 * * * *");
  CHECK(shown_between(hourly, "2026-03-29 00:00", "2026-03-29 02:00", zone) ==
        Lines{"2026-03-29 00:30:00 +0", "2026-03-29 02:30:00 +60"});
  CHECK(
      shown_between(hourly, "2026-10-24 23:00", "2026-10-25 03:00", zone) ==
      Lines{"2026-10-25 00:30:00 +60", "2026-10-25 01:30:00 +60", "2026-10-25 01:30:00 +0", "2026-10-25 02:30:00 +0"});
}

TEST_CASE("F103_a range of hours is named hours, and is silent in the hour that comes again") {
  CHECK(london("0 0-3 * * *", kSpring) == Lines{"03-29 00:00:00 +0", "03-29 02:00:00 +60", "03-29 03:00:00 +60"});
  CHECK(london("0 0-3 * * *", kAutumn) ==
        Lines{"10-25 00:00:00 +60", "10-25 01:00:00 +60", "10-25 02:00:00 +0", "10-25 03:00:00 +0"});
  CHECK(london("0 */2 * * *", kAutumn).size() == 12);
  CHECK(london("0 * * * *", kAutumn).size() == 25);
}

TEST_CASE("N15: each of the ten entries runs as listed on both days when clocks change") {
  struct Entry {
    const char* name;
    const char* schedule;
    std::size_t in_spring;
    std::size_t in_autumn;
  };
  // Both days are Sundays, so what runs from Monday to Friday does not.
  for (const Entry& entry : {
           Entry{"run-scheduled-jobs", "0,15,30,45 * * * *", 92, 100},
           Entry{"check-job-status", "* * * * *", 1380, 1500},
           Entry{"check-for-missing-rows-in-completed-jobs", "*/10 * * * *", 138, 150},
           Entry{"replay-created-notifications", "0,15,30,45 * * * *", 92, 100},
           Entry{"check-if-letters-still-in-created", "0 7 * * mon-fri", 0, 0},
           Entry{"check-if-letters-still-pending-virus-check", "0 9,15 * * mon-fri", 0, 0},
           Entry{"collate-letter-pdfs-to-be-sent", "50 17 * * *", 1, 1},
           Entry{"timeout-sending-notifications", "5 0 * * *", 1, 1},
           Entry{"save-daily-notification-processing-time", "0 2 * * *", 1, 1},
           Entry{"trigger-link-tests", "*/15 * * * *", 92, 100},
       }) {
    CAPTURE(entry.name);
    CHECK(london(entry.schedule, kSpring).size() == entry.in_spring);
    CHECK(london(entry.schedule, kAutumn).size() == entry.in_autumn);
  }
  CHECK(london("50 17 * * *", kSpring) == Lines{"03-29 17:50:00 +60"});
  CHECK(london("50 17 * * *", kAutumn) == Lines{"10-25 17:50:00 +0"});
  CHECK(london("0 2 * * *", kSpring) == Lines{"03-29 02:00:00 +60"});
  CHECK(london("0 2 * * *", kAutumn) == Lines{"10-25 02:00:00 +0"});
  CHECK(london("5 0 * * *", kSpring) == Lines{"03-29 00:05:00 +0"});
  CHECK(london("5 0 * * *", kAutumn) == Lines{"10-25 00:05:00 +60"});
  // The Monday after each.
  const TimeZone zone = TimeZone::open("Europe/London");
  for (const auto& [schedule, monday, times] :
       {std::tuple{"0 7 * * mon-fri", "2026-03-29 00:00", Lines{"2026-03-30 07:00:00 +60"}},
        std::tuple{"0 7 * * mon-fri", "2026-10-25 00:00", Lines{"2026-10-26 07:00:00 +0"}},
        std::tuple{"0 9,15 * * mon-fri", "2026-03-29 00:00",
                   Lines{"2026-03-30 09:00:00 +60", "2026-03-30 15:00:00 +60"}},
        std::tuple{"0 9,15 * * mon-fri", "2026-10-25 00:00",
                   Lines{"2026-10-26 09:00:00 +0", "2026-10-26 15:00:00 +0"}}}) {
    CHECK(shown_between(Crontab::parse(schedule), monday, core::format_iso8601(at(monday) + 48h), zone) == times);
  }
}

// Half an hour at Lord Howe Island; a whole day that Samoa left out when it went over the date line.
TEST_CASE("F103_clocks that change by half an hour or by a day keep the same rule") {
  const TimeZone lord_howe = TimeZone::open("Australia/Lord_Howe");
  CHECK(shown_between(Crontab::parse("15 2 * * *"), "2026-10-03 12:00", "2026-10-04 12:00", lord_howe) ==
        Lines{"2026-10-04 02:30:00 +660"});
  CHECK(shown_between(Crontab::parse("45 1 * * *"), "2026-04-04 12:00", "2026-04-05 12:00", lord_howe) ==
        Lines{"2026-04-05 01:45:00 +660"});
  CHECK(shown_between(Crontab::parse("*/15 * * * *"), "2026-04-04 14:44", "2026-04-04 15:31", lord_howe) ==
        Lines{"2026-04-05 01:45:00 +660", "2026-04-05 01:30:00 +630", "2026-04-05 01:45:00 +630",
              "2026-04-05 02:00:00 +630"});
  const TimeZone apia = TimeZone::open("Pacific/Apia");
  CHECK(shown_between(Crontab::parse("30 9 * * *"), "2011-12-29 10:00", "2012-01-01 10:00", apia) ==
        Lines{"2011-12-29 09:30:00 -600", "2011-12-31 00:00:00 +840", "2011-12-31 09:30:00 +840",
              "2012-01-01 09:30:00 +840"});
  CHECK(shown_between(Crontab::parse("0 0 30 12 *"), "2011-12-01 00:00", "2012-12-31 10:00", apia) ==
        Lines{"2011-12-31 00:00:00 +840", "2012-12-30 00:00:00 +840"});
}
