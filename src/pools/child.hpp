#pragma once
// The process that runs task bodies: one thread runs them, one talks to the supervisor.

#include "pools/runner.hpp"

#include <atomic>
#include <cstdint>

namespace errand::pools {

/// A page shared with the supervisor: what runs at this moment, readable even after the process has died.
struct ChildPage {
  std::atomic<std::uint64_t> running{0};
};

struct ChildFds {
  int socket = -1;
  int page = -1;    ///< memory file of a ChildPage
  int output = -1;  ///< where standard output and standard error go
};

/// Never returns. Ends when told to, or when the supervisor's end of the socket closes.
[[noreturn]] void child_main(const ChildFds& fds, const Registry& registry, const RunnerOptions& options, int number);

}  // namespace errand::pools
