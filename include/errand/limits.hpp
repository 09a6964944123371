#pragma once
// ResourceLimits: what one attempt of a task may use, together with every process it starts.
//
//   registry.add(build, run_build, {.limits = {.memory = 512u << 20, .cpu_time = 10min, .processes = 64}});
//
// Kept by the pool `prefork`: the kernel's own limits in the task's process, and a look at all its processes together
// about twenty times a second. What passes a limit is killed, and the outcome names the limit.

#include <errand/time.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace errand {

/// Unset members: no limit, or the worker's default where it has one.
struct ResourceLimits {
  std::optional<std::uint64_t> memory{};      ///< bytes of memory of its own, all processes together
  std::optional<Milliseconds> cpu_time{};     ///< processor time, all processes together
  std::optional<std::uint64_t> file_size{};   ///< bytes of the largest file it writes
  std::optional<std::uint64_t> disk{};        ///< bytes written to disks, all processes together
  std::optional<std::uint32_t> open_files{};  ///< descriptors of one process; opening more fails inside the task
  std::optional<std::uint32_t> processes{};   ///< processes it has started and that still are there

  /// Is there any limit at all?
  bool any() const noexcept { return memory || cpu_time || file_size || disk || open_files || processes; }
  /// These, and where they say nothing, the others.
  ResourceLimits or_else(const ResourceLimits& others) const;
};

}  // namespace errand
