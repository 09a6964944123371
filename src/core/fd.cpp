#include "core/fd.hpp"

#include <errand/error.hpp>

#include <sys/eventfd.h>
#include <unistd.h>
#include <cerrno>
#include <cstdint>
#include <cstring>

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

}  // namespace errand::core
