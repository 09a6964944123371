#pragma once
// TZif: the file format of time zones (RFC 9636; all of its versions, as tzdata's packages carry them).

#include "beat/zone_rules.hpp"

#include <cstddef>
#include <string_view>

namespace errand::beat {

/// More than ten times the largest file of tzdata 2025b (3.9 kB, Asia/Hebron), so that nothing else is read.
inline constexpr std::size_t kLongestZoneFile = std::size_t{64} * 1024;

/// What came of reading one file.
enum class TzifVerdict {
  good,
  not_tzif,     ///< another kind of file
  damaged,      ///< cut, or with values that cannot be
  leap_seconds  ///< one of the zones below right/, whose clocks are not those of UTC
};

/// Fills everything but the name: transitions of the years before TimeZone::kFirst are folded into the first offset,
/// those of the yearly rule are written out up to TimeZone::kEnd.
TzifVerdict read_tzif(std::string_view bytes, ZoneRules& out);

}  // namespace errand::beat
