#include "pools/zygote.hpp"

#include "core/process_tree.hpp"
#include "pools/crash.hpp"

#include <errand/error.hpp>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

namespace errand::pools {

namespace {
constexpr std::size_t kFds = 3;
// Sent by the kernel when the supervisor dies. Not SIGTERM, which service managers send to every process of a group.
constexpr int kOrphaned = SIGUSR2;
constexpr unsigned kEndWithin = 1'000;  // ms for what a dead child has left behind
constexpr int kLookAgain = 100;         // ms, while some of that cannot be ended

bool send_fds(int socket, const ChildFds& fds) {
  char byte = 'S';
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(kFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(kFds * sizeof(int));
  const int list[kFds] = {fds.socket, fds.page, fds.output};
  std::memcpy(CMSG_DATA(header), list, sizeof list);
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

enum class Received { fds, interrupted, none_free, end };

Received receive_fds(int socket, ChildFds& fds) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(kFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(socket, &message, 0);
  if (got < 0 && errno == EINTR) return Received::interrupted;
  if (got <= 0) return Received::end;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_len != CMSG_LEN(kFds * sizeof(int))) {
    // No descriptor was free for all of them; those that came are closed again.
    if (header != nullptr) {
      for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= header->cmsg_len; at += sizeof(int)) {
        int fd = -1;
        std::memcpy(&fd, reinterpret_cast<const char*>(header) + at, sizeof fd);
        close(fd);
      }
    }
    return Received::none_free;
  }
  int list[kFds];
  std::memcpy(list, CMSG_DATA(header), sizeof list);
  fds = {list[0], list[1], list[2]};
  return Received::fds;
}

void report(int control, bool started, pid_t pid, int status, std::int64_t peak = 0) {
  const Zygote::Event event{started, pid, status, peak};
  if (send(control, &event, sizeof event, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof event)) _exit(0);
}
}  // namespace

Zygote::Zygote(const Registry& registry, const RunnerOptions& options) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw Error({.kind = ErrorKind::overloaded, .operation = "pool.start", .detail = std::strerror(errno)});
  }
  std::fflush(nullptr);  // what waits in stdio's buffers would be written by every child again
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) {
    const int code = errno;
    close(ends[0]);
    close(ends[1]);
    throw Error({.kind = ErrorKind::overloaded,
                 .operation = "pool.start",
                 .detail = "no process can be made: " + std::string(std::strerror(code))});
  }
  if (pid_ == 0) {
    close(ends[0]);
    // Before the signal can come: what it does is read from a descriptor.
    sigset_t waited;
    sigemptyset(&waited);
    sigaddset(&waited, SIGCHLD);
    sigaddset(&waited, kOrphaned);
    sigprocmask(SIG_BLOCK, &waited, nullptr);
    prctl(PR_SET_PDEATHSIG, kOrphaned);
    if (getppid() != parent) _exit(0);
    prctl(PR_SET_NAME, "errand:zygote");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    core::close_others({ends[1]});
    setpgid(0, 0);  // what a task does to its group and a terminal to its own is not for this one
    serve(ends[1], registry, options);
  }
  close(ends[1]);
  control_.reset(ends[0]);
}

Zygote::~Zygote() {
  control_.reset();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Zygote::spawn(const ChildFds& fds) {
  if (!send_fds(control_.get(), fds)) {
    throw Error(
        {.kind = ErrorKind::bug, .operation = "pool.spawn", .detail = "the process that forks children is gone"});
  }
}

std::optional<Zygote::Event> Zygote::next_event() {
  Event event;
  const ssize_t got = recv(control_.get(), &event, sizeof event, MSG_DONTWAIT);
  if (got == static_cast<ssize_t>(sizeof event)) return event;
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  throw Error({.kind = ErrorKind::bug, .operation = "pool", .detail = "the process that forks children has died"});
}

void Zygote::serve(int control, const Registry& registry, const RunnerOptions& options) {
  // The terminal's signals are for the supervisor, which ends us by closing the socket.
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT, SIGHUP}) std::signal(signal, SIG_IGN);
  sigset_t waited;
  sigemptyset(&waited);
  sigaddset(&waited, SIGCHLD);
  sigaddset(&waited, kOrphaned);
  const int signals = signalfd(-1, &waited, SFD_CLOEXEC | SFD_NONBLOCK);
  prepare_backtraces();
  const pid_t supervisor = getppid();
  std::vector<pid_t> children;
  const auto end_all = [&] {
    for (const pid_t pid : children) kill(pid, SIGKILL);
    core::end_descendants({}, kEndWithin);
    _exit(0);
  };
  int number = 0;
  bool left_behind = false;
  for (;;) {
    pollfd waits[2] = {{control, POLLIN, 0}, {signals, POLLIN, 0}};
    if (poll(waits, 2, left_behind ? kLookAgain : -1) < 0 && errno != EINTR) end_all();
    signalfd_siginfo info{};
    while (read(signals, &info, sizeof info) > 0) {
      if (static_cast<int>(info.ssi_signo) == kOrphaned && getppid() != supervisor) end_all();
    }
    int status = 0;
    rusage usage{};
    std::vector<Event> ended;
    for (pid_t pid = wait4(-1, &status, WNOHANG, &usage); pid > 0; pid = wait4(-1, &status, WNOHANG, &usage)) {
      if (std::erase(children, pid) > 0) ended.push_back({false, pid, status, usage.ru_maxrss});
    }
    // Before the end is told: whoever hears of it may count on an empty machine.
    if (!ended.empty() || left_behind) {
      core::end_descendants(children, kEndWithin);
      left_behind = core::children_of(getpid()).size() > children.size();
    }
    for (const Event& event : ended) report(control, false, event.pid, event.status, event.peak_rss_kib);
    if (waits[0].revents == 0) continue;
    ChildFds fds;
    const Received received = receive_fds(control, fds);
    if (received == Received::end) end_all();
    if (received == Received::none_free) report(control, true, 0, EMFILE);
    if (received != Received::fds) continue;
    number += 1;
    const pid_t pid = fork();
    if (pid == 0) {
      close(signals);
      close(control);
      child_main(fds, registry, options, number);
    }
    const int code = errno;
    for (const int fd : {fds.socket, fds.page, fds.output}) close(fd);
    if (pid > 0) children.push_back(pid);
    report(control, true, pid > 0 ? pid : 0, pid > 0 ? 0 : code);
  }
}

}  // namespace errand::pools
