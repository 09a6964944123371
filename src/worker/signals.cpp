#include "worker/signals.hpp"

#include <errand/error.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

namespace errand::worker {

namespace {
sigset_t watched_signals(bool reload) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGQUIT);
  if (reload) sigaddset(&set, SIGHUP);
  return set;
}
}  // namespace

SignalWatcher::SignalWatcher(std::function<void(StopKind)> on_stop, std::function<void()> on_reload)
    : on_stop_(std::move(on_stop)), on_reload_(std::move(on_reload)) {
  const sigset_t set = watched_signals(on_reload_ != nullptr);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC);
  quit_ = eventfd(0, EFD_CLOEXEC);
  if (signals_ < 0 || quit_ < 0) {
    throw Error({.kind = ErrorKind::overloaded, .operation = "worker.signals", .detail = std::strerror(errno)});
  }
}

void SignalWatcher::start() {
  thread_ = std::thread([this] { watch(); });
}

SignalWatcher::~SignalWatcher() {
  const std::uint64_t one = 1;
  if (thread_.joinable() && write(quit_, &one, sizeof one) == static_cast<ssize_t>(sizeof one)) thread_.join();
  close(signals_);
  close(quit_);
  const sigset_t set = watched_signals(on_reload_ != nullptr);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void SignalWatcher::watch() {
  int asked = 0;
  for (;;) {
    pollfd waits[2] = {{signals_, POLLIN, 0}, {quit_, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[1].revents != 0) return;
    if (waits[0].revents == 0) continue;
    signalfd_siginfo info{};
    if (read(signals_, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
    if (info.ssi_signo == SIGHUP) {
      on_reload_();
      continue;
    }
    if (info.ssi_signo == SIGQUIT) {
      asked = 3;
    } else {
      asked += 1;
    }
    on_stop_(asked == 1 ? StopKind::warm : asked == 2 ? StopKind::soft : StopKind::cold);
  }
}

}  // namespace errand::worker
