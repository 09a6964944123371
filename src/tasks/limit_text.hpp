#pragma once
// The resource limits by name, as configuration, outcomes and logs say them.

#include <errand/limits.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace errand {

/// The members of ResourceLimits.
enum class Limit : std::uint32_t { none, memory, cpu_time, file_size, disk, open_files, processes };

/// "memory_limit"; "" for none and for what is no limit.
std::string_view limit_name(Limit limit);
/// In bytes, milliseconds or a number; unset: there is no such limit.
std::optional<std::uint64_t> limit_value(Limit limit, const ResourceLimits& limits);
/// "memory_limit = 64MiB (used 71MiB)"; used 0: not known.
std::string limit_text(Limit limit, const ResourceLimits& limits, std::uint64_t used);

}  // namespace errand
