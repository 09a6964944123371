#pragma once
// Watch: waits until something may have come to one of many keys, without taking it and without a connection per key.
//
// The server's client tracking does it: EXISTS over all lists says whether there is anything now and makes the server
// push one message as soon as one of them changes, whoever changes it (Python's LPUSH, a transaction, a script). It
// was chosen over BLMOVE key key, which blocks a connection for every queue and priority and writes to the server at
// each wake-up. Where tracking is refused (an ACL, a proxy) the watch looks again after a pause that grows to 100 ms.

#include "core/fd.hpp"
#include "wire/redis/connection.hpp"

#include <optional>
#include <string>
#include <vector>

namespace errand::redis {

class Watch {
 public:
  /// `lists` mean work as soon as they exist; `others` are only watched for changes.
  Watch(Connection& connection, std::vector<std::string> lists, std::vector<std::string> others);

  /// Nothing has changed since it was armed: there is no need to look.
  bool quiet();
  /// Looks, and watches from now on. False: there is something to fetch already; `insist` to watch all the same.
  bool arm(bool insist = false);
  /// The caller knows better: the next quiet() is false.
  void disturb() noexcept { armed_ = false; }

  enum class End { changed, woken, deadline };
  /// Waits for a change, wake() or the deadline. Throws Error{unavailable} when the connection breaks.
  End wait(Deadline deadline);
  /// Waits for wake() or the deadline and touches no connection. True: woken.
  bool wait_for_wake(Deadline deadline) noexcept;

  void wake() noexcept { woken_.signal(); }
  bool take_wake() noexcept { return woken_.clear(); }

  /// What came of the last wait: work, or nothing because others were quicker or another database uses the same names.
  void fruitful(bool found) noexcept;

 private:
  void set_up();
  Connection& connection_;
  std::vector<std::string> lists_, others_;
  core::EventFd woken_;
  std::uint64_t set_up_for_ = 0;  // generation of the connection that tracks
  bool tracks_ = false;
  bool armed_ = false;
  unsigned fruitless_ = 0;
  Milliseconds pause_{0};  // without tracking
};

}  // namespace errand::redis
