#pragma once
// ZoneRules: everything a time zone's file says about the years that we look at, as one list.

#include <errand/time.hpp>

#include <string>
#include <vector>

namespace errand::beat {

using std::chrono::seconds;
using std::chrono::sys_seconds;

/// From `at` on, local time is UTC + offset.
struct Transition {
  sys_seconds at;
  seconds offset;
};

struct ZoneRules {
  std::string name;
  seconds first_offset{0};              ///< before the first transition
  std::vector<Transition> transitions;  ///< rising; each changes the offset
};

/// No place has ever been further from UTC (RFC 9636, section 3.2: -25 to +26 hours).
inline constexpr std::chrono::hours kFarthestOffset{26};

}  // namespace errand::beat
