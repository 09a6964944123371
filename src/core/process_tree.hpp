#pragma once
// Processes and what they have started, as /proc shows them: who is there, what they use together, and an end to
// them. A process that is made while one looks is found by the next look.

#include <sys/types.h>
#include <cstdint>
#include <vector>

namespace errand::core {

/// The direct children of a process, whichever of its threads made them.
std::vector<pid_t> children_of(pid_t pid);

/// What a process and all it has started use. Of processes that have ended and were waited for, time and writing
/// still count.
struct TreeUse {
  std::size_t started = 0;   ///< processes below the first one
  std::uint64_t memory = 0;  ///< bytes resident and not shared with files
  std::uint64_t cpu_ms = 0;
  std::uint64_t disk_bytes = 0;  ///< written to disks; memory file systems do not count
};
TreeUse tree_use(pid_t root);

/// Kills the children of this process and, as they become its children, what is below them, until nothing is there or
/// the time is over; `spare` stays. Returns how many processes were ended. The caller is a subreaper: orphans come to
/// it.
std::size_t end_descendants(const std::vector<pid_t>& spare, unsigned most_ms);

/// Is there any child, alive or waiting to be waited for? One system call.
bool has_children() noexcept;

}  // namespace errand::core
