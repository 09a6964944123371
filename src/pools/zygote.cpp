#include "pools/zygote.hpp"

#include <errand/error.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace errand::pools {

namespace {
constexpr std::size_t kFds = 3;

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

// False: the other end is gone.
bool receive_fds(int socket, ChildFds& fds) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(kFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(socket, &message, 0) <= 0) return false;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_len != CMSG_LEN(kFds * sizeof(int))) return false;
  int list[kFds];
  std::memcpy(list, CMSG_DATA(header), sizeof list);
  fds = {list[0], list[1], list[2]};
  return true;
}

void report(int control, bool started, pid_t pid, int status) {
  const Zygote::Event event{started, pid, status};
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
    throw Error({.kind = ErrorKind::overloaded, .operation = "pool.start", .detail = "no process can be made: " + std::string(std::strerror(code))});
  }
  if (pid_ == 0) {
    close(ends[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    prctl(PR_SET_NAME, "errand:zygote");
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
    throw Error({.kind = ErrorKind::bug, .operation = "pool.spawn", .detail = "the process that forks children is gone"});
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
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, nullptr);
  // The terminal's signals are for the supervisor, which ends us by closing the socket.
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT, SIGHUP}) std::signal(signal, SIG_IGN);
  const int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  std::vector<pid_t> children;
  int number = 0;
  for (;;) {
    pollfd waits[2] = {{control, POLLIN, 0}, {signals, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) _exit(1);
    signalfd_siginfo info{};
    while (read(signals, &info, sizeof info) > 0) {
    }
    int status = 0;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
      std::erase(children, pid);
      report(control, false, pid, status);
    }
    if (waits[0].revents == 0) continue;
    ChildFds fds;
    if (!receive_fds(control, fds)) {
      for (const pid_t pid : children) kill(pid, SIGKILL);
      _exit(0);
    }
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
