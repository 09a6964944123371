#pragma once
// ISO 8601 times as Celery's peers write and read them (celery-wire section 1.5).

#include <errand/time.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace errand::core {

/// "2026-11-22T05:43:54.166995+00:00": always microseconds, always UTC. The year is 1 to 9999; a point outside is
/// moved to the nearest one.
std::string format_iso8601(TimePoint time);

/// Reads date and time with 'T', 't' or a blank between them; seconds and a fraction of any length may be missing
/// (digits beyond microseconds are dropped); then 'Z', +HH:MM, +HHMM, +HH or nothing, which means UTC. nullopt: not
/// such a time, or no such day, or outside the years 1 to 9999.
std::optional<TimePoint> parse_iso8601(std::string_view text);

}  // namespace errand::core
