#pragma once
// A byte stream to a server over TCP, a Unix socket or TLS, with a deadline on everything that can wait.

#include "core/fd.hpp"

#include <errand/time.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace errand::net {

struct TlsOptions {
  bool enabled = false;
  bool verify = true;            ///< certificate chain and host name
  std::string ca_file;           ///< "": the system's
  std::string certificate_file;  ///< client certificate, "": none
  std::string key_file;
};

struct Address {
  std::string host = "localhost";
  int port = 0;
  std::string unix_path;         ///< not empty: a Unix socket, host and port are not used
  TlsOptions tls;
  std::string text() const;      ///< "localhost:6379" or the path, for errors
};

/// Used by one thread. Throws Error{unavailable} with the reason; {denied} for certificates that do not verify.
class Stream {
 public:
  /// Tries every address of the host until the deadline.
  Stream(const Address& address, Deadline deadline);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void write_all(std::string_view bytes, Deadline deadline);
  /// At least one byte appended to `into`; waits until the deadline, then throws.
  void read_some(std::string& into, Deadline deadline);
  /// Bytes that TLS has decoded already and poll(2) does not see.
  bool has_buffered() const noexcept;
  int fd() const noexcept { return fd_.get(); }

 private:
  struct Tls;
  void connect_unix(const Address& address);
  void connect_tcp(const Address& address, Deadline deadline);
  void handshake(const Address& address, Deadline deadline);
  void wait_for(short events, Deadline deadline, std::string_view what) const;
  [[noreturn]] void fail(std::string detail, std::string code = {}) const;

  core::UniqueFd fd_;
  std::string name_;
  std::unique_ptr<Tls> tls_;
};

}  // namespace errand::net
