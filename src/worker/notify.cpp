#include "worker/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace errand::worker {

namespace {
std::optional<long long> number_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  long long value = 0;
  const char* end = text + std::strlen(text);
  const auto parsed = std::from_chars(text, end, value);
  if (parsed.ec != std::errc{} || parsed.ptr != end || value <= 0) return std::nullopt;
  return value;
}
}  // namespace

Systemd::Systemd() {
  if (const char* path = std::getenv("NOTIFY_SOCKET")) socket_ = path;
  const auto pid = number_from_environment("WATCHDOG_PID");
  if (const auto usec = number_from_environment("WATCHDOG_USEC"); usec && (!pid || *pid == getpid())) {
    watchdog_ = Milliseconds{*usec / 2000};
  }
}

void Systemd::notify(std::string_view state) const noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.empty() || socket_.size() >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  // Systemd not listening is not the worker's problem; there is nobody to tell.
  [[maybe_unused]] const auto sent =
      sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length);
  close(fd);
}

}  // namespace errand::worker
