#pragma once
// Evidence: what is known of a process that ended while it ran a task, in words for a person. The long form goes into
// the result's traceback, the short one into the dead letter and the log.

#include "pools/page.hpp"

#include <errand/pool.hpp>

#include <deque>
#include <string>

namespace errand::pools {

/// The last lines of a task: what it logged and what it wrote to standard output and error.
class LastLines {
 public:
  static constexpr std::size_t kMost = 10;
  static constexpr std::size_t kMostBytes = 300;  ///< of one line

  void add(std::string_view line);
  void clear() noexcept { lines_.clear(); }
  const std::deque<std::string>& lines() const noexcept { return lines_; }

 private:
  std::deque<std::string> lines_;
};

struct ProcessEnd {
  int pid = 0;
  int status = 0;                 ///< as of wait(2)
  std::int64_t peak_rss_kib = 0;  ///< 0: unknown
  bool killed_here = false;       ///< by the worker: a limit, a revoke, a stop
  bool out_of_memory = false;     ///< the kernel's killer of processes ran at that time
};

/// Fills traceback, evidence, exceeded, the signal and the peak of `outcome`.
void add_evidence(Outcome& outcome, const ProcessEnd& end, const ChildPage& page, const Execution& execution,
                  const LastLines& lines);

/// How often the kernel has killed a process for want of memory since the machine started.
std::uint64_t kernel_oom_kills();

}  // namespace errand::pools
