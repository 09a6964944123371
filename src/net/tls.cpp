#include "net/tls.hpp"

#include <errand/error.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <array>
#include <cerrno>
#include <cstdint>

namespace errand::net {

namespace {

// OpenSSL's own socket BIO calls write(2), which raises SIGPIPE on a closed connection. A library must not change
// the signals of its program, so the two calls are ours.
int descriptor(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

int bio_write(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = send(descriptor(bio), bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int bio_read(BIO* bio, char* into, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = recv(descriptor(bio), into, static_cast<std::size_t>(size), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long bio_control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

const BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "errand socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    BIO_meth_set_create(made, bio_create);
    return made;
  }();
  return method;
}

// Why OpenSSL refused, in one line; empties its queue of errors.
std::string reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "the connection was closed";
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

}  // namespace

struct Tls::Session {
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl{nullptr, SSL_free};
  bool verifies = false;
};

Tls::~Tls() = default;

Tls::Tls(const Address& address, int fd, const std::string& name) : session_(std::make_unique<Session>()) {
  const auto refuse = [&](std::string detail) {
    throw Error({.kind = ErrorKind::invalid, .operation = "tls", .subject = name, .detail = std::move(detail)});
  };
  ERR_clear_error();
  const TlsOptions& tls = address.tls;
  session_->verifies = tls.verify;
  session_->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = session_->context.get();
  if (context == nullptr) refuse(reason());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (tls.verify) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    const int loaded = tls.ca_file.empty() ? SSL_CTX_set_default_verify_paths(context)
                                           : SSL_CTX_load_verify_locations(context, tls.ca_file.c_str(), nullptr);
    if (loaded != 1) refuse("expected a file of certificates in ssl_ca_certs, got " + reason());
  }
  if (!tls.certificate_file.empty()) {
    const std::string& key = tls.key_file.empty() ? tls.certificate_file : tls.key_file;
    if (SSL_CTX_use_certificate_chain_file(context, tls.certificate_file.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
      refuse("expected a certificate and its key in ssl_certfile and ssl_keyfile, got " + reason());
    }
  }
  session_->ssl.reset(SSL_new(context));
  SSL* ssl = session_->ssl.get();
  BIO* bio = ssl != nullptr ? BIO_new(socket_method()) : nullptr;
  if (bio == nullptr) refuse(reason());
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the number itself, nobody follows it
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  SSL_set_bio(ssl, bio, bio);
  SSL_set_connect_state(ssl);
  // An address is compared with the certificate's addresses, a name with its names; only a name is sent along.
  const bool checks = tls.verify && tls.check_host;
  if (checks && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), address.host.c_str()) == 1) return;
  // What the macro SSL_set_tlsext_host_name does, without its C cast.
  SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(address.host.c_str()));
  if (checks) SSL_set1_host(ssl, address.host.c_str());
}

Tls::Outcome Tls::outcome(int code, std::size_t bytes) const {
  if (code == 1) return {End::done, bytes, {}};
  switch (SSL_get_error(session_->ssl.get(), code)) {
    case SSL_ERROR_WANT_READ:
      return {End::wants_read, 0, {}};
    case SSL_ERROR_WANT_WRITE:
      return {End::wants_write, 0, {}};
    case SSL_ERROR_ZERO_RETURN:
      return {End::closed, 0, {}};
    default:
      return {End::failed, 0, reason()};
  }
}

Tls::Outcome Tls::handshake() {
  ERR_clear_error();
  return outcome(SSL_do_handshake(session_->ssl.get()), 0);
}

Tls::Outcome Tls::write(std::string_view bytes) {
  ERR_clear_error();
  std::size_t sent = 0;
  const int code = SSL_write_ex(session_->ssl.get(), bytes.data(), bytes.size(), &sent);
  return outcome(code, sent);
}

Tls::Outcome Tls::read(char* into, std::size_t size) {
  ERR_clear_error();
  std::size_t got = 0;
  const int code = SSL_read_ex(session_->ssl.get(), into, size, &got);
  return outcome(code, got);
}

bool Tls::has_buffered() const noexcept { return SSL_pending(session_->ssl.get()) > 0; }

std::string Tls::refusal() const {
  const long verified = SSL_get_verify_result(session_->ssl.get());
  if (!session_->verifies || verified == X509_V_OK) return {};
  return X509_verify_cert_error_string(verified);
}

}  // namespace errand::net
