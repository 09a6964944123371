#pragma once
// YearlyRule: when clocks change in every year to come, as the last line of a TZif file says it: a TZ string of POSIX,
// "GMT0BST,M3.5.0/1,M10.5.0".

#include "beat/zone_rules.hpp"

#include <array>
#include <optional>
#include <string_view>
#include <vector>

namespace errand::beat {

/// Without summer time, `daylight` is unset and nothing changes.
struct YearlyRule {
  /// A day of the year and a time on it, in seconds from its midnight (RFC 9636: -167 to 167 hours).
  struct Moment {
    enum class Kind { day_of_year, day_without_leap, weekday_of_month };
    Kind kind = Kind::weekday_of_month;
    int day = 0;   ///< day_of_year 0 to 365; day_without_leap 1 to 365, never 29 February; the weekday 0 (Sunday) to 6
    int week = 0;  ///< weekday_of_month: 1 to 5, where 5 is the last one
    int month = 0;
    seconds time{0};
  };
  struct Daylight {
    seconds offset{0};
    Moment begins;  ///< by the clocks of standard time
    Moment ends;    ///< by the clocks of summer time
  };
  seconds standard{0};
  std::optional<Daylight> daylight;

  /// Both changes of that year; not in order where summer time goes over New Year.
  std::array<Transition, 2> changes(std::chrono::year year) const;
};

/// nullopt: not such a text, or an offset that no place has.
std::optional<YearlyRule> parse_yearly_rule(std::string_view text);

}  // namespace errand::beat
