#pragma once
// Time zones: what the clocks on the walls of a place show, by the names of the IANA time zone database.
//
//   const auto london = errand::TimeZone::open("Europe/London");
//   london.offset_at(now);                // 0s in winter, 3600s in summer
//   errand::TimeZone();                   // UTC; needs no database
//
// Read from the files of the operating system (Debian: package tzdata; TZif, RFC 9636), with the rule for the years
// after the last one that is written out. docs/decisions/0010-time-zones.md says why not by a library.

#include <errand/time.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace errand {

namespace beat {
struct ZoneRules;
}

/// What a clock on a wall shows: a date and a time without a zone.
using LocalTime = std::chrono::local_time<Microseconds>;

/// One time zone as it was when it was opened. A value: immutable, cheap to copy, safe to share between threads. A
/// database that is replaced later is seen by those who open() again.
///
/// The rules are known from kFirst on and up to kEnd; outside, the offset of the nearest end holds.
class TimeZone {
 public:
  static constexpr TimePoint kFirst{std::chrono::sys_days{std::chrono::year{1970} / 1 / 1}};
  static constexpr TimePoint kEnd{std::chrono::sys_days{std::chrono::year{2200} / 1 / 1}};

  /// UTC.
  TimeZone();

  /// The zone with that name ("Europe/London"; capitals count). "UTC" and "Etc/UTC" are known without any file.
  /// `directory`: where the database is; "": what the environment variable TZDIR says, else /usr/share/zoneinfo. Reads
  /// one file, keeps nothing open.
  /// Throws Error{invalid}: no such name, with the nearest one; also for "right/...", whose clocks count leap seconds.
  /// Throws Error{unavailable}: there is no database, naming the package to install; or the file cannot be read or
  /// is damaged.
  static TimeZone open(std::string_view name, const std::string& directory = {});

  /// The name it was opened with; "UTC" for UTC.
  const std::string& name() const noexcept;

  /// Local time minus UTC at that instant.
  std::chrono::seconds offset_at(TimePoint at) const noexcept;
  /// What the clocks show at that instant.
  LocalTime to_local(TimePoint at) const noexcept;

  /// The latest local time that the clocks have shown up to `at`, `at` included. That is to_local(at), except in the
  /// hour (or whatever it is) that is lived through a second time after clocks were put back.
  LocalTime latest_shown(TimePoint at) const noexcept;
  /// The first instant at which the clocks show `local` or something later: its first occurrence where there are two,
  /// the end of the gap where there is none. Grows with `local`, never back.
  TimePoint first_reached(LocalTime local) const noexcept;

  /// A stretch of time with one offset: begin <= t < end. The first begins at TimePoint::min(), the last ends at
  /// TimePoint::max().
  struct Period {
    TimePoint begin;
    TimePoint end;
    std::chrono::seconds offset{0};
  };
  /// The period that `at` is in.
  Period period_at(TimePoint at) const noexcept;

 private:
  explicit TimeZone(std::shared_ptr<const beat::ZoneRules> rules);
  std::shared_ptr<const beat::ZoneRules> rules_;  ///< never null
};

}  // namespace errand
