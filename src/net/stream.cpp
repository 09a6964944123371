#include "net/stream.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace errand::net {

namespace {
constexpr int kUserTimeoutMs = 20'000;   // unacknowledged bytes: the connection counts as dead after this
constexpr int kKeepaliveSeconds = 25;    // below the 60 s after which NATs forget a silent connection
constexpr std::size_t kReadAtOnce = 64u << 10;

std::string tls_reason() {
  std::array<char, 256> text{};
  const unsigned long code = ERR_get_error();
  if (code == 0) return "the connection was closed during the handshake";
  ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return text.data();
}
}  // namespace

struct Stream::Tls {
  ~Tls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
};

std::string Address::text() const { return unix_path.empty() ? host + ":" + std::to_string(port) : unix_path; }

Stream::Stream(const Address& address, Deadline deadline) : name_(address.text()) {
  if (address.unix_path.empty()) connect_tcp(address, deadline);
  else connect_unix(address);
  if (address.tls.enabled) handshake(address, deadline);
}

Stream::~Stream() = default;

void Stream::fail(std::string detail, std::string code) const {
  throw Error({.kind = ErrorKind::unavailable, .operation = "net", .subject = name_, .detail = std::move(detail), .code = std::move(code)});
}

void Stream::connect_unix(const Address& address) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  if (address.unix_path.size() >= sizeof where.sun_path) {
    throw Error({.kind = ErrorKind::invalid, .operation = "net", .subject = name_, .detail = "expected a socket path of at most 107 bytes"});
  }
  std::memcpy(where.sun_path, address.unix_path.data(), address.unix_path.size());
  fd_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd_ || connect(fd_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) {
    fail("connecting failed: " + std::string(std::strerror(errno)));
  }
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
}

void Stream::connect_tcp(const Address& address, Deadline deadline) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (code != 0) fail("the host name does not resolve: " + std::string(gai_strerror(code)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> all(found, freeaddrinfo);
  std::string reason = "no address";
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    fd_.reset(socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) {
      reason = std::strerror(errno);
      continue;
    }
    int error = 0;
    if (connect(fd_.get(), one->ai_addr, one->ai_addrlen) != 0 && errno != EINPROGRESS) {
      error = errno;
    } else {
      pollfd ready{fd_.get(), POLLOUT, 0};
      if (poll(&ready, 1, deadline.poll_timeout()) <= 0) {
        error = ETIMEDOUT;
      } else {
        socklen_t size = sizeof error;
        getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      }
    }
    if (error == 0) {
      const int on = 1;
      setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      setsockopt(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &kKeepaliveSeconds, sizeof kKeepaliveSeconds);
      setsockopt(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof kUserTimeoutMs);
      return;
    }
    reason = std::strerror(error);
  }
  fd_.reset();
  fail("connecting failed: " + reason);
}

void Stream::handshake(const Address& address, Deadline deadline) {
  tls_ = std::make_unique<Tls>();
  tls_->context = SSL_CTX_new(TLS_client_method());
  if (tls_->context == nullptr) fail(tls_reason());
  SSL_CTX_set_min_proto_version(tls_->context, TLS1_2_VERSION);
  const TlsOptions& tls = address.tls;
  const auto refuse = [&](ErrorKind kind, std::string detail) {
    throw Error({.kind = kind, .operation = "tls", .subject = name_, .detail = std::move(detail)});
  };
  if (tls.verify) {
    SSL_CTX_set_verify(tls_->context, SSL_VERIFY_PEER, nullptr);
    const int loaded = tls.ca_file.empty() ? SSL_CTX_set_default_verify_paths(tls_->context)
                                           : SSL_CTX_load_verify_locations(tls_->context, tls.ca_file.c_str(), nullptr);
    if (loaded != 1) refuse(ErrorKind::invalid, "expected a file of certificates in ssl_ca_certs, got " + tls_reason());
  }
  if (!tls.certificate_file.empty()) {
    const std::string& key = tls.key_file.empty() ? tls.certificate_file : tls.key_file;
    if (SSL_CTX_use_certificate_chain_file(tls_->context, tls.certificate_file.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_->context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
      refuse(ErrorKind::invalid, "expected a certificate and its key in ssl_certfile and ssl_keyfile, got " + tls_reason());
    }
  }
  tls_->ssl = SSL_new(tls_->context);
  SSL_set_fd(tls_->ssl, fd_.get());
  // What the macro SSL_set_tlsext_host_name does, without its C cast.
  SSL_ctrl(tls_->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(address.host.c_str()));
  if (tls.verify) {
    // An address is compared with the certificate's addresses, a name with its names.
    X509_VERIFY_PARAM* checks = SSL_get0_param(tls_->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(checks, address.host.c_str()) != 1) {
      SSL_set1_host(tls_->ssl, address.host.c_str());
    }
  }
  for (;;) {
    const int code = SSL_connect(tls_->ssl);
    if (code == 1) return;
    const int why = SSL_get_error(tls_->ssl, code);
    if (why == SSL_ERROR_WANT_READ) {
      wait_for(POLLIN, deadline, "the TLS handshake");
    } else if (why == SSL_ERROR_WANT_WRITE) {
      wait_for(POLLOUT, deadline, "the TLS handshake");
    } else {
      const long verified = SSL_get_verify_result(tls_->ssl);
      if (tls.verify && verified != X509_V_OK) {
        refuse(ErrorKind::denied, "the server's certificate does not verify: " + std::string(X509_verify_cert_error_string(verified)) +
                                      "; name its authority in ssl_ca_certs");
      }
      fail("TLS failed: " + tls_reason());
    }
  }
}

void Stream::wait_for(short events, Deadline deadline, std::string_view what) const {
  pollfd ready{fd_.get(), events, 0};
  for (;;) {
    const int got = poll(&ready, 1, deadline.poll_timeout());
    if (got > 0) return;
    if (got < 0 && errno != EINTR) fail(std::strerror(errno));
    if (deadline.passed()) fail("no answer in time while waiting for " + std::string(what), "ETIMEDOUT");
  }
}

void Stream::write_all(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    std::size_t sent = 0;
    if (tls_) {
      const int code = SSL_write_ex(tls_->ssl, bytes.data(), bytes.size(), &sent);
      if (code != 1) {
        const int why = SSL_get_error(tls_->ssl, code);
        if (why == SSL_ERROR_WANT_READ) wait_for(POLLIN, deadline, "the server to read");
        else if (why == SSL_ERROR_WANT_WRITE) wait_for(POLLOUT, deadline, "the server to read");
        else fail("writing failed: " + tls_reason());
        continue;
      }
    } else {
      const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN) fail("writing failed: " + std::string(std::strerror(errno)));
        wait_for(POLLOUT, deadline, "the server to read");
        continue;
      }
      sent = static_cast<std::size_t>(n);
    }
    bytes.remove_prefix(sent);
  }
}

void Stream::read_some(std::string& into, Deadline deadline) {
  const std::size_t before = into.size();
  into.resize(before + kReadAtOnce);
  try {
    for (;;) {
      std::size_t got = 0;
      if (tls_) {
        const int code = SSL_read_ex(tls_->ssl, into.data() + before, kReadAtOnce, &got);
        if (code != 1) {
          const int why = SSL_get_error(tls_->ssl, code);
          if (why == SSL_ERROR_WANT_READ) wait_for(POLLIN, deadline, "an answer");
          else if (why == SSL_ERROR_WANT_WRITE) wait_for(POLLOUT, deadline, "an answer");
          else fail("the server closed the connection");
          continue;
        }
      } else {
        const ssize_t n = recv(fd_.get(), into.data() + before, kReadAtOnce, 0);
        if (n == 0) fail("the server closed the connection");
        if (n < 0) {
          if (errno == EINTR) continue;
          if (errno != EAGAIN) fail("reading failed: " + std::string(std::strerror(errno)));
          wait_for(POLLIN, deadline, "an answer");
          continue;
        }
        got = static_cast<std::size_t>(n);
      }
      into.resize(before + got);
      return;
    }
  } catch (...) {
    into.resize(before);
    throw;
  }
}

bool Stream::has_buffered() const noexcept { return tls_ && SSL_pending(tls_->ssl) > 0; }

}  // namespace errand::net
