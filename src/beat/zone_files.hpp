#pragma once
// The files of the time zone database: where they are, what is in them, and what to tell people when they are not
// there.

#include "beat/zone_rules.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace errand::beat {

/// "" becomes the environment variable TZDIR, as the C library has it, or /usr/share/zoneinfo.
std::string zone_directory(const std::string& given);

/// Every zone's name below the directory, sorted; not those of posix/ and right/, which repeat all others. Empty: there
/// is no database. At most kMostZones; tzdata 2025b has 598.
std::vector<std::string> zone_names(const std::string& directory);
inline constexpr std::size_t kMostZones = 5000;

/// Throws what TimeZone::open throws.
ZoneRules read_zone(std::string_view name, const std::string& directory);

}  // namespace errand::beat
