#include "tasks/limit_text.hpp"

#include "core/text.hpp"

namespace errand {

namespace {

std::string size_text(std::uint64_t bytes) {
  constexpr std::uint64_t kKiB = 1'024, kMiB = kKiB * kKiB, kGiB = kMiB * kKiB;
  if (bytes >= kGiB && bytes % kGiB == 0) return std::to_string(bytes / kGiB) + "GiB";
  if (bytes >= kMiB) return std::to_string(bytes / kMiB) + "MiB";
  if (bytes >= kKiB) return std::to_string(bytes / kKiB) + "KiB";
  return std::to_string(bytes) + " bytes";
}

std::string value_text(Limit limit, std::uint64_t value) {
  switch (limit) {
    case Limit::memory:
    case Limit::file_size:
    case Limit::disk:
      return size_text(value);
    case Limit::cpu_time:
      return core::format_duration(Milliseconds{static_cast<std::int64_t>(value)});
    default:
      return std::to_string(value);
  }
}

}  // namespace

std::optional<std::uint64_t> limit_value(Limit limit, const ResourceLimits& limits) {
  switch (limit) {
    case Limit::memory:
      return limits.memory;
    case Limit::cpu_time:
      return limits.cpu_time ? std::optional(static_cast<std::uint64_t>(limits.cpu_time->count())) : std::nullopt;
    case Limit::file_size:
      return limits.file_size;
    case Limit::disk:
      return limits.disk;
    case Limit::open_files:
      return limits.open_files;
    case Limit::processes:
      return limits.processes;
    case Limit::none:
      break;
  }
  return std::nullopt;
}

std::string_view limit_name(Limit limit) {
  switch (limit) {
    case Limit::memory:
      return "memory_limit";
    case Limit::cpu_time:
      return "cpu_limit";
    case Limit::file_size:
      return "file_size_limit";
    case Limit::disk:
      return "disk_limit";
    case Limit::open_files:
      return "open_files_limit";
    case Limit::processes:
      return "processes_limit";
    case Limit::none:
      break;
  }
  return "";
}

std::string limit_text(Limit limit, const ResourceLimits& limits, std::uint64_t used) {
  std::string out(limit_name(limit));
  if (const auto most = limit_value(limit, limits)) out += " = " + value_text(limit, *most);
  if (used > 0) out += " (used " + value_text(limit, used) + ")";
  return out;
}

}  // namespace errand
