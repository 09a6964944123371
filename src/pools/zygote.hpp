#pragma once
// The zygote: a small process forked before any thread or connection exists, which forks the children. A fork from
// the worker itself would copy whatever its threads hold at that moment, and cost 30 ms from a large heap.
//
// It inherits what a dead child's task had started, and ends it before the child's end is told: no process outlives
// its task. When the supervisor dies it ends everything and itself.

#include "core/fd.hpp"
#include "pools/child.hpp"

#include <sys/types.h>

namespace errand::pools {

class Zygote {
 public:
  /// Forks. Call while the process has one thread. Throws Error{overloaded} when no process can be made.
  Zygote(const Registry& registry, const RunnerOptions& options);
  ~Zygote();
  Zygote(const Zygote&) = delete;
  Zygote& operator=(const Zygote&) = delete;

  /// Asks for a child that uses copies of these descriptors; the answer comes as Event::started.
  void spawn(const ChildFds& fds);

  struct Event {
    bool started = false;           ///< else: ended
    pid_t pid = 0;                  ///< started: 0 when the fork failed
    int status = 0;                 ///< ended: as wait(2) gives it; started: errno of a failed fork
    std::int64_t peak_rss_kib = 0;  ///< ended: of the process or the largest of those it waited for
  };
  /// Readable when an event is there.
  int fd() const noexcept { return control_.get(); }
  std::optional<Event> next_event();
  pid_t pid() const noexcept { return pid_; }

 private:
  [[noreturn]] static void serve(int control, const Registry& registry, const RunnerOptions& options);
  core::UniqueFd control_;
  pid_t pid_ = 0;
};

}  // namespace errand::pools
