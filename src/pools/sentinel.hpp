#pragma once
// Looks after each task whether it has left its process as it found it. What it has broken would be the next task's
// trouble: then the process is replaced.

#include <sys/stat.h>
#include <array>
#include <csignal>
#include <string>

namespace errand::pools {

/// Working directory, umask, signal mask, locale, and the descriptors the process was given.
class Sentinel {
 public:
  /// `socket`: where the supervisor is reached. What is there now is how it should stay.
  explicit Sentinel(int socket);

  /// Is the descriptor still the socket? A task may have closed it, and opened something else in its place.
  bool socket_intact() const noexcept { return same(3); }
  /// What has changed, for people: "working directory"; "" when nothing has.
  std::string damage() const;

 private:
  struct Identity {
    int fd = -1;
    dev_t device = 0;
    ino_t inode = 0;
  };
  bool same(std::size_t which) const noexcept;

  std::array<Identity, 4> fds_{};  // 0, 1, 2 and the socket
  dev_t folder_device_ = 0;
  ino_t folder_inode_ = 0;
  mode_t umask_ = 0;
  sigset_t mask_{};
  std::string locale_;
};

}  // namespace errand::pools
