#include "net/stream.hpp"

#include "net/tls.hpp"

#include <errand/error.hpp>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace errand::net {

namespace {

constexpr Milliseconds kBacklogPause{10};  // a Unix socket whose queue of callers is full says so only when asked

// poll(2) that goes on after a signal and beyond its own longest wait.
int poll_until(pollfd* waits, nfds_t count, Deadline deadline) {
  for (;;) {
    const int got = ::poll(waits, count, deadline.poll_timeout());
    if (got > 0 || (got < 0 && errno != EINTR)) return got;
    if (deadline.passed()) return 0;
  }
}

// What became of a connect(2) in progress.
int connected_by(int fd, Deadline deadline) {
  pollfd ready{fd, POLLOUT, 0};
  if (poll_until(&ready, 1, deadline) <= 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

template <class T>
void set_option(int fd, int level, int name, T value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

void tune(int fd) {
  constexpr int kProbeEverySeconds = 5;
  constexpr int kProbes = 3;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(kKeepalive.count() / 1000));
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeEverySeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<unsigned>(kUserTimeout.count()));
}

// An equal share of what is left for each address that is still to be tried.
Deadline share(Deadline deadline, std::ptrdiff_t addresses) {
  const auto left = deadline.remaining();
  return left ? Deadline::after(*left / std::max<std::ptrdiff_t>(addresses, 1)) : deadline;
}

}  // namespace

std::string Address::text() const {
  if (!unix_path.empty()) return unix_path;
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Stream::Stream(const Address& address, Deadline deadline) : name_(address.text()) {
  if (address.unix_path.empty()) {
    connect_tcp(address, deadline);
  } else {
    connect_unix(address, deadline);
  }
  if (address.tls.enabled) handshake(address, deadline);
}

Stream::~Stream() = default;

void Stream::fail(std::string detail, std::string code) const {
  throw Error({.kind = ErrorKind::unavailable,
               .operation = "connection",
               .subject = name_,
               .detail = std::move(detail),
               .code = std::move(code)});
}

void Stream::connect_unix(const Address& address, Deadline deadline) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  if (address.unix_path.size() >= sizeof where.sun_path) {
    throw Error(
        {.kind = ErrorKind::invalid,
         .operation = "connection",
         .subject = name_,
         .detail = "expected a socket path of at most 107 bytes, got " + std::to_string(address.unix_path.size())});
  }
  std::memcpy(where.sun_path, address.unix_path.data(), address.unix_path.size());
  fd_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_) fail("no socket: " + std::string(std::strerror(errno)));
  while (connect(fd_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) fail("connecting failed: " + std::string(std::strerror(errno)));
    if (deadline.passed()) fail("connecting failed: nobody took the connection in time", "ETIMEDOUT");
    poll_until(nullptr, 0, deadline.earlier(Deadline::after(kBacklogPause)));
  }
}

void Stream::connect_tcp(const Address& address, Deadline deadline) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (code != 0) fail("the host name does not resolve: " + std::string(gai_strerror(code)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> all(found, freeaddrinfo);
  std::ptrdiff_t left = 0;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) ++left;
  std::string reason = "no address";
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next, --left) {
    fd_.reset(socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int error = errno;
    if (fd_) {
      const bool begun = connect(fd_.get(), one->ai_addr, one->ai_addrlen) == 0 || errno == EINPROGRESS;
      error = begun ? connected_by(fd_.get(), share(deadline, left)) : errno;
    }
    if (error == 0) {
      tune(fd_.get());
      return;
    }
    reason = std::strerror(error);
  }
  fd_.reset();
  fail("connecting failed: " + reason);
}

void Stream::handshake(const Address& address, Deadline deadline) {
  tls_ = std::make_unique<Tls>(address, fd_.get(), name_);
  for (;;) {
    const Tls::Outcome step = tls_->handshake();
    if (step.end == Tls::End::done) return;
    const bool reads = step.end == Tls::End::wants_read;
    if (!reads && step.end != Tls::End::wants_write) {
      if (const std::string refusal = tls_->refusal(); !refusal.empty()) {
        throw Error({.kind = ErrorKind::denied,
                     .operation = "tls",
                     .subject = name_,
                     .detail = "expected a certificate of a known authority for this host, got: " + refusal +
                               "; name the authority in ssl_ca_certs"});
      }
      fail("the TLS handshake failed: " + step.reason + "; does the server speak TLS on this port?");
    }
    const Ready ready = wait({.read = reads, .write = !reads}, deadline);
    if (!ready.readable && !ready.writable) fail("no answer in time to the TLS handshake", "ETIMEDOUT");
  }
}

// How much was done; 0: not now.
template <class Step>
std::size_t Stream::tls_step(Step step, std::string_view what) {
  const Tls::Outcome outcome = step(*tls_);
  tls_reads_ = outcome.end == Tls::End::wants_read;
  tls_writes_ = outcome.end == Tls::End::wants_write;
  if (outcome.end == Tls::End::closed) fail("the server closed the connection", "EOF");
  if (outcome.end == Tls::End::failed) fail(std::string(what) + " failed: " + outcome.reason, "ECONNRESET");
  return outcome.bytes;
}

std::size_t Stream::write_some(std::string_view bytes) {
  if (bytes.empty()) return 0;
  if (tls_) {
    return tls_step([&](Tls& tls) { return tls.write(bytes); }, "writing");
  }
  for (;;) {
    const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) fail("writing failed: " + std::string(std::strerror(errno)), "ECONNRESET");
  }
}

std::size_t Stream::read_some(char* into, std::size_t size) {
  if (tls_) {
    return tls_step([&](Tls& tls) { return tls.read(into, size); }, "reading");
  }
  for (;;) {
    const ssize_t n = recv(fd_.get(), into, size, 0);
    if (n > 0) return static_cast<std::size_t>(n);
    if (n == 0) fail("the server closed the connection", "EOF");
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) fail("reading failed: " + std::string(std::strerror(errno)), "ECONNRESET");
  }
}

Stream::Ready Stream::wait(Interest interest, Deadline deadline, int wake_fd) {
  // What TLS has decoded already is invisible to poll(2).
  if (tls_ && interest.read && tls_->has_buffered()) return {.readable = true};
  short events = 0;
  if (interest.read) events |= POLLIN;
  if (interest.write) events |= POLLOUT;
  if (tls_writes_) events |= POLLOUT;
  if (tls_reads_) events |= POLLIN;
  std::array<pollfd, 2> waits{pollfd{fd_.get(), events, 0}, pollfd{wake_fd, POLLIN, 0}};
  if (poll_until(waits.data(), wake_fd >= 0 ? 2 : 1, deadline) < 0) fail(std::strerror(errno));
  // Whatever TLS waited for, its caller tries again what it wanted.
  const bool any = waits[0].revents != 0;
  const bool tls_waited = any && (tls_reads_ || tls_writes_);
  return {.readable = (waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 || (tls_waited && interest.read),
          .writable = (waits[0].revents & (POLLOUT | POLLHUP | POLLERR)) != 0 || (tls_waited && interest.write),
          .woken = waits[1].revents != 0};
}

}  // namespace errand::net
