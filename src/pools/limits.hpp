#pragma once
// Resource limits of one task, in the process that runs it: the kernel's for the process itself, and a look at all
// its processes together.

#include "pools/page.hpp"

#include <errand/limits.hpp>

#include <sys/resource.h>
#include <string>

namespace errand::pools {

class LimitKeeper {
 public:
  /// Remembers the process's own limits, to go back to.
  LimitKeeper();

  /// Sets what the kernel can keep. Throws nothing: a limit that cannot be set is looked at from outside.
  void begin(const ResourceLimits& limits);
  /// Back to the process's own.
  void end();

  bool watching() const noexcept { return watching_; }
  /// Looks at the task's processes. A limit that is passed is written to the page; true: it is time to end.
  bool over(ChildPage& page) const;

 private:
  void lower(int resource, rlim_t limit);

  ResourceLimits limits_;
  bool watching_ = false;
  bool set_ = false;
  std::uint64_t cpu_before_ = 0, disk_before_ = 0;
  struct Own {
    int resource;
    rlimit limit;
    bool lowered;
  };
  Own own_[4];
};

}  // namespace errand::pools
