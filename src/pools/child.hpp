#pragma once
// The process that runs task bodies: one thread runs them, one talks to the supervisor. After each task it makes sure
// that nothing the task has started goes on, and that the process is as it was; else it ends and is replaced.

#include "pools/page.hpp"
#include "pools/runner.hpp"

namespace errand::pools {

struct ChildFds {
  int socket = -1;
  int page = -1;    ///< memory file of a ChildPage
  int output = -1;  ///< where standard output and standard error go
};

/// Never returns. Ends when told to, or when the supervisor's end of the socket closes.
[[noreturn]] void child_main(const ChildFds& fds, const Registry& registry, const RunnerOptions& options, int number);

}  // namespace errand::pools
