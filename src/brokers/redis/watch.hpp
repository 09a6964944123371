#pragma once
// Watch: waits until one of several lists has an element, without taking it.
//
// BLMOVE key key RIGHT RIGHT returns when the list has an element and leaves the list as it was. It blocks its
// connection, so each list has one of its own, up to kMostLists; beyond that all are looked at ten times a second.

#include "core/fd.hpp"
#include "wire/redis/connection.hpp"

#include <memory>
#include <vector>

namespace errand::redis {

class Watch {
 public:
  static constexpr std::size_t kMostLists = 32;
  Watch(Url url, Milliseconds connect_timeout, std::vector<std::string> lists);

  /// Returns when a list may have an element, at wake(), or at the deadline. Throws Error{unavailable}.
  void wait(Deadline deadline);
  /// Only for wake() or the deadline; touches no connection.
  void wait_for_wake(Deadline deadline);
  void wake() noexcept { woken_.signal(); }
  bool take_wake() noexcept { return woken_.clear(); }

 private:
  struct Line {
    std::string list;
    std::unique_ptr<Connection> connection;
    bool blocked = false;
  };
  void arm(Line& line);
  std::vector<Line> lines_;
  core::EventFd woken_;
  bool polls_ = false;  // too many lists, or a server before 6.2
};

}  // namespace errand::redis
