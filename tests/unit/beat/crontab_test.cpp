// The grammar of crontabs is Celery's, and what is wrong is said with what to write instead.
#include "times.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <numeric>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;

namespace {

using Numbers = std::vector<int>;

Numbers minutes(std::string text) { return Crontab({.minute = std::move(text)}).minutes(); }
Numbers hours(std::string text) { return Crontab({.hour = std::move(text)}).hours(); }
Numbers days(std::string text) { return Crontab({.day_of_month = std::move(text)}).days_of_month(); }
Numbers months(std::string text) { return Crontab({.month_of_year = std::move(text)}).months_of_year(); }
Numbers weekdays(std::string text) { return Crontab({.day_of_week = std::move(text)}).days_of_week(); }

Numbers from_to(int first, int last) {
  Numbers out(static_cast<std::size_t>(last - first + 1));
  std::iota(out.begin(), out.end(), first);
  return out;
}

std::string refusal(CrontabFields fields) {
  try {
    const Crontab unexpected(std::move(fields));
    return "taken: " + unexpected.text();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::invalid);
    CHECK(error.operation() == "crontab");
    return error.detail();
  }
}

std::string refusal(std::string_view text) {
  try {
    return "taken: " + Crontab::parse(text).text();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::invalid);
    return error.detail();
  }
}

}  // namespace

// Measured on Celery 5.2.6 and 5.6.2; names of months are known to 5.5 and later.
TEST_CASE("crontab: fields mean what Celery 5.6 makes of them") {
  CHECK(weekdays("sun") == Numbers{0});
  CHECK(weekdays("sunday") == Numbers{0});
  CHECK(weekdays("mon-fri") == from_to(1, 5));
  CHECK(weekdays("sat-mon") == Numbers{0, 1, 6});
  CHECK(months("jan") == Numbers{1});
  CHECK(minutes("*/15") == Numbers{0, 15, 30, 45});
  CHECK(hours("22-3/2") == Numbers{0, 2, 22});
  Numbers wrapped = from_to(0, 10);
  for (const int minute : from_to(50, 59)) wrapped.push_back(minute);
  CHECK(minutes("50-10") == wrapped);
  CHECK(days("*/7") == Numbers{1, 8, 15, 22, 29});
  CHECK(days("2-30/3") == Numbers{2, 5, 8, 11, 14, 17, 20, 23, 26, 29});
  CHECK(minutes("1,2") == Numbers{1, 2});
  CHECK(minutes("1,2,10-12") == Numbers{1, 2, 10, 11, 12});
  CHECK(months("*/3") == Numbers{1, 4, 7, 10});
  CHECK(hours("*/5,7") == Numbers{0, 5, 7, 10, 15, 20});
}

TEST_CASE("crontab: every field alone is everything it can be, and a range of all of it is the same") {
  CHECK(minutes("*") == from_to(0, 59));
  CHECK(hours("*") == from_to(0, 23));
  CHECK(days("*") == from_to(1, 31));
  CHECK(months("*") == from_to(1, 12));
  CHECK(weekdays("*") == from_to(0, 6));
  CHECK(weekdays("fri-thu") == from_to(0, 6));
  CHECK(days("17-16") == from_to(1, 31));
  CHECK(Crontab::parse("0-59 0-23 1-31 1-12 0-6") == Crontab({}));
  CHECK(Crontab::parse("*/1 * * jan-dec sun-sat") == Crontab({}));
  CHECK_FALSE(Crontab::parse("1-59 * * * *") == Crontab({}));
}

TEST_CASE("crontab: leading zeros, doubles, one-number ranges, long steps and any capitals are taken") {
  CHECK(minutes("05,5,5-5") == Numbers{5});
  CHECK(minutes("*/90") == Numbers{0});
  CHECK(minutes("58-3/3") == Numbers{1, 58});
  CHECK(weekdays("FRI,Mon-tuesday,0") == Numbers{0, 1, 2, 5});
  CHECK(weekdays("mon-6/2") == Numbers{1, 3, 5});
  CHECK(months("November-FEB") == Numbers{1, 2, 11, 12});
  CHECK(minutes("1, 2 ,3") == Numbers{1, 2, 3});
}

TEST_CASE("crontab: five words are minute, hour, day, month, weekday") {
  const Crontab schedule = Crontab::parse("  5\t4 3  2 1 ");
  CHECK(schedule.minutes() == Numbers{5});
  CHECK(schedule.hours() == Numbers{4});
  CHECK(schedule.days_of_month() == Numbers{3});
  CHECK(schedule.months_of_year() == Numbers{2});
  CHECK(schedule.days_of_week() == Numbers{1});
  CHECK(schedule.text() == "5 4 3 2 1");
  CHECK(schedule ==
        Crontab({.minute = "5", .hour = "4", .day_of_month = "3", .month_of_year = "2", .day_of_week = "mon"}));
}

TEST_CASE("crontab: what is wrong names the field, what may stand there, what came and what to write") {
  CHECK(refusal({.day_of_week = "7"}) == "day_of_week: expected 0 to 6 or sun to sat, got '7'; Sunday is 0 or sun");
  CHECK(refusal({.day_of_week = "5-7"}) == "day_of_week: expected 0 to 6 or sun to sat, got '7'; Sunday is 0 or sun");
  CHECK(refusal({.minute = "5/10"}) == "minute: expected a step behind * or a range, got '5/10'; write 5-59/10");
  CHECK(refusal({.day_of_week = "mon/2"}) ==
        "day_of_week: expected a step behind * or a range, got 'mon/2'; write mon-6/2");
  CHECK(refusal({.minute = "60"}) == "minute: expected 0 to 59, got '60'; the full hour is minute 0");
  CHECK(refusal({.hour = "24"}) == "hour: expected 0 to 23, got '24'; midnight is hour 0");
  CHECK(refusal({.hour = "25"}) == "hour: expected 0 to 23, got '25'");
  CHECK(refusal({.day_of_month = "0"}) == "day_of_month: expected 1 to 31, got '0'");
  CHECK(refusal({.month_of_year = "0"}) == "month_of_year: expected 1 to 12 or jan to dec, got '0'");
  CHECK(refusal({.month_of_year = "13"}) == "month_of_year: expected 1 to 12 or jan to dec, got '13'");
  CHECK(refusal({.minute = ""}) ==
        "minute: expected numbers, ranges (1-5), steps (*/2) or * with commas between, got ''; write * for every one");
  CHECK(
      refusal({.month_of_year = "mon"}) ==
      "month_of_year: expected 1 to 12 or jan to dec, got 'mon'; names of days stand in day_of_week, the fifth field");
  CHECK(refusal({.day_of_week = "jan"}) ==
        "day_of_week: expected 0 to 6 or sun to sat, got 'jan'; names of months stand in month_of_year, the fourth "
        "field");
  CHECK(refusal({.minute = "-5"}) == "minute: expected 0 to 59, got '-5'; numbers have no sign");
  CHECK(refusal({.minute = "*/0"}) == "minute: expected a step from 1 on behind the /, got '*/0'");
  CHECK(refusal({.minute = std::string("1\x1b[2J")}) == "minute: expected 0 to 59, got '1\\x1b[2J'");
}

// Celery reads the beginning of some of these and drops the rest: "*/2-5" is "*/2" to it, "1-2-3" is "1-2".
TEST_CASE("crontab: what is only half a field is refused") {
  for (const char* text : {"1,",
                           ",1",
                           "1,,2",
                           " ",
                           "*5",
                           "**",
                           "*-5",
                           "1-*",
                           "*/",
                           "*/x",
                           "*/-2",
                           "*/+2",
                           "*/2-5",
                           "*/2/3",
                           "1-",
                           "1-2-3",
                           "1-2/",
                           "1-2/x",
                           "1--2",
                           "+5",
                           "5.0",
                           "0x5",
                           "1_0",
                           "1e1",
                           "?",
                           "L",
                           "1#2",
                           "@daily",
                           "99999999999999999999",
                           "4294967297",
                           "-",
                           "/",
                           "/5",
                           "mo",
                           "m0n",
                           "\xd9\xa3"}) {
    CAPTURE(text);
    CHECK(refusal({.minute = text}).starts_with("minute: expected "));
    CHECK(refusal({.day_of_week = text}).starts_with("day_of_week: expected "));
  }
  CHECK(refusal({.minute = std::string(1001, ' ')}).starts_with("minute: expected at most 1000 characters"));
  CHECK(refusal({.minute = std::string(5'000'000, '1')}).size() < 200);
}

TEST_CASE("crontab: anything but five words is refused with an example") {
  const std::string expected = "expected five fields, 'minute hour day_of_month month_of_year day_of_week', got ";
  CHECK(refusal("* * * *") == expected + "4; write 0 7 * * mon-fri for 07:00 from Monday to Friday");
  CHECK(refusal("").starts_with(expected + "0"));
  CHECK(refusal("@daily").starts_with(expected + "1"));
  CHECK(refusal("* * * * * *").starts_with(expected + "6"));
  CHECK(refusal("1, 2 * * * *").starts_with(expected + "6"));
  CHECK(refusal(std::string(2001, '*')).starts_with(expected + "2001 characters"));
}

// Celery finds this only when it looks for the next time, two thousand months later.
TEST_CASE("crontab: a day that no year has is refused when it is written down") {
  CHECK(refusal("0 0 31 2 *") ==
        "expected a day that some year has, got day_of_month 31 in months that are shorter; it would never be due");
  CHECK(refusal("0 0 30-31 2 *").find("never be due") != std::string::npos);
  CHECK(refusal("0 0 31 2,4,6,9,11 *").find("never be due") != std::string::npos);
  CHECK(refusal("0 0 31 2,3 *") == "taken: 0 0 31 2,3 *");
  CHECK(refusal("0 0 29-31 2 mon") == "taken: 0 0 29-31 2 mon");
}

TEST_CASE("crontab: day, weekday and month must all match") {
  const TimeZone utc;
  CHECK(shown_between(Crontab::parse("0 12 13 * fri"), "2026-01-01 00:00", "2027-01-01 00:00", utc) ==
        std::vector<std::string>{"2026-02-13 12:00:00 +0", "2026-03-13 12:00:00 +0", "2026-11-13 12:00:00 +0"});
  CHECK(shown_between(Crontab::parse("59 23 31 * *"), "2026-01-31 23:59", "2026-06-01 00:00", utc) ==
        std::vector<std::string>{"2026-03-31 23:59:00 +0", "2026-05-31 23:59:00 +0"});
  CHECK(shown_between(Crontab::parse("0 22-1 * * sun"), "2026-03-01 00:00", "2026-03-08 00:00", utc) ==
        std::vector<std::string>{"2026-03-01 01:00:00 +0", "2026-03-01 22:00:00 +0", "2026-03-01 23:00:00 +0"});
}

TEST_CASE("crontab: the next due instant is strictly later, to the microsecond") {
  const Crontab schedule = Crontab::parse("30 * * * *");
  const TimePoint due = at("2026-05-01 10:30");
  CHECK(schedule.next(due - 1us) == due);
  CHECK(schedule.next(due) == due + 1h);
  CHECK(schedule.next(due + 1us) == due + 1h);
  const Crontab daily = Crontab::parse("30 10 * * *");
  CHECK(daily.next(due - 1us) == due);
  CHECK(daily.next(due) == due + 24h);
}

// 2100 has no 29 February, so that one weekday can stay away for forty years.
TEST_CASE("crontab: the rarest day is found, forty years later") {
  CHECK(Crontab::parse("0 0 29 2 sun").next(at("2088-02-29 00:00")) == at("2128-02-29 00:00"));
  CHECK(Crontab::parse("0 * 29 2 sun").next(at("2088-02-29 23:00")) == at("2128-02-29 00:00"));
}

TEST_CASE("crontab: it looks at the years 1970 to 2199") {
  for (const char* text : {"* * * * *", "*/5 0-22 * * *"}) {
    const Crontab schedule = Crontab::parse(text);
    CHECK(schedule.next(TimePoint::min()) == at("1970-01-01 00:00"));
    CHECK(schedule.next(at("1950-01-01 00:00")) == at("1970-01-01 00:00"));
    CHECK(schedule.next(TimePoint::max()) == std::nullopt);
    CHECK(schedule.next(at("2200-01-01 00:00")) == std::nullopt);
  }
  CHECK(Crontab::parse("* * * * *").next(at("2199-12-31 23:58")) == at("2199-12-31 23:59"));
  CHECK(Crontab::parse("* * * * *").next(at("2199-12-31 23:59")) == std::nullopt);
  CHECK(Crontab::parse("0 3 * * *").next(at("2199-12-31 03:00")) == std::nullopt);
  CHECK(Crontab::parse("0 0 29 2 mon").next(at("2199-01-01 00:00")) == std::nullopt);
}
