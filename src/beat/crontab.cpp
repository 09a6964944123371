#include "beat/crontab_field.hpp"
#include "beat/shown.hpp"

#include <errand/error.hpp>
#include <errand/schedule.hpp>

#include <array>
#include <bit>
#include <utility>

namespace errand {
namespace {

using std::chrono::days;
using std::chrono::local_days;

constexpr std::uint64_t kAllHours = (std::uint64_t{1} << 24) - 1;
constexpr std::size_t kLongestText = 2000;
constexpr std::size_t kLongestShown = 80;
// A day behind the end of what is looked at, in every zone.
constexpr local_days kLastDay{(TimeZone::kEnd + days{2}).time_since_epoch() / days{1} * days{1}};

bool has(std::uint64_t set, unsigned number) { return (set >> number & 1) != 0; }

// The smallest number of the set that is not below `from`; nullopt: there is none.
std::optional<int> at_or_after(std::uint64_t set, int from) {
  if (from > 63) return std::nullopt;
  const std::uint64_t left = set >> from << from;
  if (left == 0) return std::nullopt;
  return std::countr_zero(left);
}

std::vector<int> numbers(std::uint64_t set) {
  std::vector<int> out;
  for (auto at = at_or_after(set, 0); at; at = at_or_after(set, *at + 1)) out.push_back(*at);
  return out;
}

// 29 February counts: every weekday falls on it within 40 years.
bool some_month_has_day(std::uint64_t months, std::uint64_t days_of_month) {
  constexpr std::array<int, 12> kLongest{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const int first = std::countr_zero(days_of_month);
  for (unsigned month = 1; month <= 12; ++month) {
    if (has(months, month) && first <= kLongest[month - 1]) return true;
  }
  return false;
}

}  // namespace

Crontab::Crontab(CrontabFields fields)
    : fields_(std::move(fields)),
      sets_{.minutes = beat::parse_field(beat::kMinute, fields_.minute),
            .hours = beat::parse_field(beat::kHour, fields_.hour),
            .days = beat::parse_field(beat::kDayOfMonth, fields_.day_of_month),
            .months = beat::parse_field(beat::kMonthOfYear, fields_.month_of_year),
            .weekdays = beat::parse_field(beat::kDayOfWeek, fields_.day_of_week)} {
  if (some_month_has_day(sets_.months, sets_.days)) return;
  throw Error({.kind = ErrorKind::invalid,
               .operation = "crontab",
               .subject = beat::shown(text(), kLongestShown),
               .detail = "expected a day that some year has, got day_of_month " +
                         std::to_string(numbers(sets_.days)[0]) +
                         " in months that are shorter; it would never be due"});
}

Crontab Crontab::parse(std::string_view whole) {
  const auto refuse = [&](const std::string& got) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "crontab",
                 .subject = beat::shown(whole, kLongestShown),
                 .detail = "expected five fields, 'minute hour day_of_month month_of_year day_of_week', got " + got +
                           "; write 0 7 * * mon-fri for 07:00 from Monday to Friday"});
  };
  if (whole.size() > kLongestText) refuse(std::to_string(whole.size()) + " characters");
  std::array<std::string, 5> words;
  std::size_t count = 0;
  for (std::string_view rest = whole;; ++count) {
    const std::size_t start = rest.find_first_not_of(" \t");
    if (start == std::string_view::npos) break;
    rest.remove_prefix(start);
    const std::string_view word = rest.substr(0, rest.find_first_of(" \t"));
    rest.remove_prefix(word.size());
    if (count < words.size()) words[count] = word;
  }
  if (count != words.size()) refuse(std::to_string(count));
  return Crontab({.minute = words[0],
                  .hour = words[1],
                  .day_of_month = words[2],
                  .month_of_year = words[3],
                  .day_of_week = words[4]});
}

bool Crontab::every_hour() const noexcept { return sets_.hours == kAllHours; }

std::vector<int> Crontab::minutes() const { return numbers(sets_.minutes); }
std::vector<int> Crontab::hours() const { return numbers(sets_.hours); }
std::vector<int> Crontab::days_of_month() const { return numbers(sets_.days); }
std::vector<int> Crontab::months_of_year() const { return numbers(sets_.months); }
std::vector<int> Crontab::days_of_week() const { return numbers(sets_.weekdays); }

std::string Crontab::text() const {
  return fields_.minute + " " + fields_.hour + " " + fields_.day_of_month + " " + fields_.month_of_year + " " +
         fields_.day_of_week;
}

bool Crontab::names_day(std::chrono::year_month_day date) const noexcept {
  return has(sets_.months, static_cast<unsigned>(date.month())) && has(sets_.days, static_cast<unsigned>(date.day())) &&
         has(sets_.weekdays, std::chrono::weekday{local_days{date}}.c_encoding());
}

// The first full minute at or after `from` that the fields name, whether the clocks of a place show it or not; nullopt
// behind the last day. At most 84 000 days are looked at, and of months that are not named only one.
std::optional<LocalTime> Crontab::match(LocalTime from) const noexcept {
  from = std::chrono::ceil<std::chrono::minutes>(from);
  auto day = std::chrono::floor<days>(from);
  auto minute_of_day = static_cast<int>((from - day) / std::chrono::minutes{1});
  while (day <= kLastDay) {
    const std::chrono::year_month_day date{day};
    if (!has(sets_.months, static_cast<unsigned>(date.month()))) {
      day = local_days{(date.year() / date.month() + std::chrono::months{1}) / 1};
      minute_of_day = 0;
      continue;
    }
    if (names_day(date)) {
      int minute = minute_of_day % 60;
      for (auto hour = at_or_after(sets_.hours, minute_of_day / 60); hour; hour = at_or_after(sets_.hours, *hour + 1)) {
        if (*hour > minute_of_day / 60) minute = 0;
        if (const auto found = at_or_after(sets_.minutes, minute)) {
          return day + std::chrono::hours{*hour} + std::chrono::minutes{*found};
        }
      }
    }
    day += days{1};
    minute_of_day = 0;
  }
  return std::nullopt;
}

std::optional<TimePoint> Crontab::next(TimePoint after, const TimeZone& zone) const {
  if (after >= TimeZone::kEnd) return std::nullopt;
  after = std::max(after, TimeZone::kFirst - Microseconds{1});
  const auto due = every_hour() ? next_of_every_hour(after, zone) : next_of_named_hours(after, zone);
  return due && *due < TimeZone::kEnd ? due : std::nullopt;
}

// Whenever the clocks show it: period by period, of which there are fewer than a thousand.
std::optional<TimePoint> Crontab::next_of_every_hour(TimePoint after, const TimeZone& zone) const noexcept {
  TimePoint from = after + Microseconds{1};
  while (from < TimeZone::kEnd) {
    const TimeZone::Period period = zone.period_at(from);
    const auto local = match(LocalTime{from.time_since_epoch() + period.offset});
    if (!local) return std::nullopt;
    const TimePoint due{local->time_since_epoch() - period.offset};
    if (due < period.end) return due;
    from = period.end;
  }
  return std::nullopt;
}

// When the clocks first show it or have passed it, which grows with the local time: so the next one is due at the next
// local time that they have not shown yet.
std::optional<TimePoint> Crontab::next_of_named_hours(TimePoint after, const TimeZone& zone) const noexcept {
  const auto local = match(zone.latest_shown(after) + Microseconds{1});
  if (!local) return std::nullopt;
  return zone.first_reached(*local);
}

}  // namespace errand
