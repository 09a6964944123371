#pragma once
// Times as the tests of schedules write and print them.

#include "core/iso8601.hpp"

#include <errand/schedule.hpp>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace errand::testing {

/// "2026-03-29 01:30" in UTC, or with an offset behind it.
inline TimePoint at(std::string_view text) { return core::parse_iso8601(text).value(); }

/// "2026-03-29 01:30:00" as the clocks of the zone show it, with the offset in minutes: "+60".
inline std::string shown(TimePoint when, const TimeZone& zone) {
  const auto offset = zone.offset_at(when);
  std::string text = core::format_iso8601(when + offset).substr(0, 19);
  text[10] = ' ';
  const auto minutes = offset.count() / 60;
  return text + (minutes < 0 ? " -" : " +") + std::to_string(minutes < 0 ? -minutes : minutes);
}

/// Every due instant after `from` and before `to`. Throws when one is not later than the one before.
template <class Schedule, class... Zone>
std::vector<TimePoint> due_between(const Schedule& schedule, TimePoint from, TimePoint to, const Zone&... zone) {
  std::vector<TimePoint> out;
  TimePoint last = from;
  for (auto due = schedule.next(from, zone...); due && *due < to; due = schedule.next(*due, zone...)) {
    if (*due <= last) throw std::logic_error("due again at " + core::format_iso8601(*due));
    out.push_back(last = *due);
  }
  return out;
}

/// The same as text.
inline std::vector<std::string> shown_between(const Crontab& schedule, std::string_view from, std::string_view to,
                                              const TimeZone& zone) {
  std::vector<std::string> out;
  for (const TimePoint due : due_between(schedule, at(from), at(to), zone)) out.push_back(shown(due, zone));
  return out;
}

}  // namespace errand::testing
