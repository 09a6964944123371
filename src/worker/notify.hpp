#pragma once
// systemd's notification protocol (sd_notify(3)): one datagram per state to the socket in NOTIFY_SOCKET. Written
// here because it is twenty lines and libsystemd would be a dependency of every worker.

#include <errand/time.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace errand::worker {

class Systemd {
 public:
  Systemd();  ///< reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID once
  /// "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..."; lines separated by \n. Does nothing without systemd.
  void notify(std::string_view state) const noexcept;
  /// How often WATCHDOG=1 is due: half of what systemd asked for. nullopt: no watchdog.
  std::optional<Milliseconds> watchdog() const noexcept { return watchdog_; }

 private:
  std::string socket_;
  std::optional<Milliseconds> watchdog_;
};

}  // namespace errand::worker
