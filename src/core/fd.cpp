#include "core/fd.hpp"

#include <errand/error.hpp>

#include <dirent.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace errand::core {

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

EventFd::EventFd() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!fd_) {
    throw Error({.kind = ErrorKind::overloaded, .operation = "eventfd", .detail = std::strerror(errno)});
  }
}

void EventFd::signal() noexcept {
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then the flag is up anyway.
  [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof one);
}

bool EventFd::clear() noexcept {
  std::uint64_t count = 0;
  return read(fd_.get(), &count, sizeof count) == static_cast<ssize_t>(sizeof count);
}

void close_others(std::initializer_list<int> kept) {
  std::vector<int> open;
  if (DIR* folder = opendir("/proc/self/fd")) {
    while (const dirent* entry = readdir(folder)) {
      const int fd = std::atoi(entry->d_name);
      if (fd > 2 && fd != dirfd(folder)) open.push_back(fd);
    }
    closedir(folder);
  }
  for (const int fd : open) {
    if (std::find(kept.begin(), kept.end(), fd) == kept.end()) close(fd);
  }
}

}  // namespace errand::core
