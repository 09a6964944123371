#pragma once
// The page that a child shares with its supervisor: what is known of it after it has died. The child writes, with
// plain stores that a signal handler may make; the supervisor reads when the process has ended, and believes nothing
// that could hurt it, because a task with a wild pointer may have written here, too.

#include "tasks/limit_text.hpp"

#include <sys/types.h>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace errand::pools {

inline constexpr std::size_t kMostFrames = 64;
inline constexpr std::size_t kLastWords = 256u << 10;

/// Why and where the process ended itself. Addresses of code only: nothing of its memory leaves the process.
struct CrashNote {
  std::atomic<int> signal{0};        ///< 0: no handler ran
  std::atomic<int> code{0};          ///< si_code
  std::atomic<bool> stack{false};    ///< the address was at the end of the stack
  std::atomic<bool> left{false};     ///< it called exit() or quick_exit()
  std::atomic<std::uint64_t> at{0};  ///< where it was when the signal came
  std::atomic<std::uint32_t> frames{0};
  std::array<std::uint64_t, kMostFrames> frame{};
  std::array<char, 512> said{};  ///< type and text of an exception that nobody caught; ends with a zero
};

/// Which limit the process killed itself and all it had started for.
struct LimitNote {
  std::atomic<Limit> limit{Limit::none};
  std::atomic<std::uint64_t> used{0};
};

struct ChildPage {
  std::atomic<std::uint64_t> running{0};  ///< the run, 0: idle
  CrashNote crash;
  LimitNote over;
  std::array<char, 256> damage{};  ///< what a task has broken in its process; ends with a zero
  /// Frames that could not be sent because a task has closed the socket.
  std::atomic<std::uint32_t> words{0};
  std::array<char, kLastWords> last_words{};
};

}  // namespace errand::pools
