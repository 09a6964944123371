#pragma once
// Owned file descriptors, and the eventfd that threads wake each other with.

#include <initializer_list>
#include <utility>

namespace errand::core {

/// Closes what it owns. Move only.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept;
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

/// A flag that poll(2) can wait for. signal() may be called from any thread and from signal handlers.
class EventFd {
 public:
  EventFd();  ///< throws Error{overloaded} when the process has no descriptor left
  int fd() const noexcept { return fd_.get(); }
  void signal() noexcept;
  /// Takes the flag down; true if it was up.
  bool clear() noexcept;

 private:
  UniqueFd fd_;
};

/// Closes every descriptor of this process from 3 on that is not named.
void close_others(std::initializer_list<int> kept);

}  // namespace errand::core
