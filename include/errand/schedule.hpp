#pragma once
// Schedules: when something is due. Pure values; nothing here waits, sends or looks at a clock.
//
//   const auto report = errand::Crontab::parse("30 1 * * mon-fri");           // minute hour day month weekday
//   const auto zone = errand::TimeZone::open("Europe/London");
//   report.next(now, zone);                                                   // the first due instant after now
//   errand::Interval(15min, start).next(now);
//
// The fields of a crontab mean what they mean to Celery (celery.schedules.crontab), with three things to know for those
// who come from cron: day and weekday must both match, ranges wrap (22-3), and Sunday is 0, never 7.
//
// On the days when clocks change:
//   - An entry that names hours (any hour field that does not cover all 24) is due once for each local time that it
//     names: at the first instant at which the clocks show that time or a later one. A time that the clocks skip is due
//     at the end of the gap, several skipped times that come to the same instant are due once, and of a time that comes
//     twice the first one counts.
//   - An entry for every hour is due whenever the clocks show one of its minutes, and at no other instant: in the hour
//     that comes twice it is due twice, in the hour that is skipped not at all. So it keeps its distances in real time.
//
// Europe/London, 2026: on 29 March 01:00 GMT becomes 02:00 BST, on 25 October 02:00 BST becomes 01:00 GMT.
//   "30 1 * * *"      29 March: 02:00 BST, once       25 October: 01:30 BST, once
//   "*/20 1 * * *"    29 March: 02:00 BST, once       25 October: 01:00, 01:20, 01:40 BST, once each
//   "30 * * * *"      00:30 GMT, then 02:30 BST       00:30, 01:30 BST, 01:30 GMT, 02:30 GMT, an hour apart
//
// Entries that name hours run when Celery 5.2 to 5.5 runs them. In the hour that comes again Celery runs entries for
// every hour only once, and 5.6 runs a skipped time as much later as the gap is long. docs/schedules.md has the
// measurements.

#include <errand/time.hpp>
#include <errand/time_zone.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// The five fields by name. Each is a list with commas of `*`, a number, a range `a-b` that may wrap, and `*` or a
/// range with a step (`*/15`, `8-18/2`; never `5/10`). Blanks around the parts of a list do not count.
struct CrontabFields {
  std::string minute = "*";         ///< 0 to 59
  std::string hour = "*";           ///< 0 to 23
  std::string day_of_month = "*";   ///< 1 to 31
  std::string month_of_year = "*";  ///< 1 to 12, or names: the first three letters count (jan, June)
  std::string day_of_week = "*";    ///< 0 (Sunday) to 6, or names: the first three letters count (sun, Monday)
};

/// When all five fields match the local date and time. A value: immutable, safe to share between threads.
class Crontab {
 public:
  /// Throws Error{invalid} naming the field, what was expected, what came and what to write instead; also when no day
  /// of any year would match (31 February).
  explicit Crontab(CrontabFields fields);
  /// "minute hour day_of_month month_of_year day_of_week", with blanks between them, as crontab.from_string of Celery
  /// reads it: "0 7 * * mon-fri". Throws Error{invalid}, as above.
  static Crontab parse(std::string_view text);

  /// The first due instant strictly after `after`, by the rule above; always at a full minute of local time, or at the
  /// end of a gap. Looks at the years 1970 to 2199: before, as if it were asked at the end of 1969; nullopt: not due
  /// any more until 2200.
  std::optional<TimePoint> next(TimePoint after, const TimeZone& zone = {}) const;

  /// Is the hour field open to all 24 hours? Then the second half of the rule above holds.
  bool every_hour() const noexcept;

  /// The numbers that a field stands for, in rising order.
  std::vector<int> minutes() const;
  std::vector<int> hours() const;
  std::vector<int> days_of_month() const;
  std::vector<int> months_of_year() const;
  std::vector<int> days_of_week() const;  ///< 0 is Sunday

  /// As it was written, one blank between the fields: "0 7 * * mon-fri".
  std::string text() const;
  const CrontabFields& fields() const noexcept { return fields_; }
  /// The same instants, however they were written: "0-59 * * * *" equals "* * * * *".
  friend bool operator==(const Crontab& one, const Crontab& other) noexcept { return one.sets_ == other.sets_; }

 private:
  // Bit n: n is in the field.
  struct Sets {
    std::uint64_t minutes = 0;
    std::uint64_t hours = 0;
    std::uint64_t days = 0;
    std::uint64_t months = 0;
    std::uint64_t weekdays = 0;
    friend bool operator==(const Sets&, const Sets&) = default;
  };
  bool names_day(std::chrono::year_month_day date) const noexcept;
  std::optional<LocalTime> match(LocalTime from) const noexcept;
  std::optional<TimePoint> next_of_every_hour(TimePoint after, const TimeZone& zone) const noexcept;
  std::optional<TimePoint> next_of_named_hours(TimePoint after, const TimeZone& zone) const noexcept;

  CrontabFields fields_;
  Sets sets_;
};

/// Every so many milliseconds of real time, counted from an anchor; no zone, and no clock that is put back, changes it.
/// A value: immutable, safe to share between threads.
class Interval {
 public:
  /// Due at `anchor`, and then each time when another `every` has passed. Throws Error{invalid} unless `every` is
  /// 1 ms to 36525 days, and the anchor within the years 1 to 9999.
  explicit Interval(Milliseconds every, TimePoint anchor = TimePoint{});

  /// The first due instant strictly after `after`; nullopt: not due any more until 2200. Nothing is due before the
  /// anchor.
  std::optional<TimePoint> next(TimePoint after) const noexcept;

  Milliseconds every() const noexcept { return every_; }
  TimePoint anchor() const noexcept { return anchor_; }
  friend bool operator==(const Interval&, const Interval&) = default;

 private:
  Milliseconds every_;
  TimePoint anchor_;
};

}  // namespace errand
