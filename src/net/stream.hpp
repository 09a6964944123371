#pragma once
// Stream: bytes to and from a server over TCP, a Unix socket or TLS. It never blocks without a deadline.
//
//   Stream stream(address, Deadline::after(5s));          // every address of the host is tried, TLS included
//   sent += stream.write_some(bytes.substr(sent));        // 0: not now
//   stream.wait({.read = true, .write = true}, deadline); // or until a wake-up
//   got = stream.read_some(buffer, sizeof buffer);        // 0: not now
//
// Reading and writing are apart, so that a caller with much to send can read meanwhile: two sides that only write
// wait for each other for ever.

#include "core/fd.hpp"

#include <errand/time.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace errand::net {

struct TlsOptions {
  bool enabled = false;
  bool verify = true;            ///< the certificate's chain
  bool check_host = true;        ///< and that it names the host; only with verify
  std::string ca_file;           ///< "": the system's
  std::string certificate_file;  ///< client certificate, "": none
  std::string key_file;          ///< "": in certificate_file
  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

struct Address {
  std::string host = "localhost";
  int port = 0;
  std::string unix_path;  ///< not empty: a Unix socket, host and port are not used
  TlsOptions tls;
  std::string text() const;  ///< "localhost:6379" or the path, for errors
  friend bool operator==(const Address&, const Address&) = default;
};

class Tls;

/// Unacknowledged bytes for this long, and the connection counts as dead (TCP_USER_TIMEOUT).
inline constexpr Milliseconds kUserTimeout{20'000};
/// A silent connection is probed after this long, below the 60 s after which NATs forget it.
inline constexpr Milliseconds kKeepalive{25'000};

/// Used by one thread. Throws Error{unavailable} with the reason, {denied} for certificates that do not verify,
/// {invalid} for files that cannot be read. After an error the stream is of no more use. Destroying it writes
/// nothing, so a forked child may drop its copy.
class Stream {
 public:
  /// Tries every address of the host, each with its share of the time. Looking up a name has the system's own limit.
  Stream(const Address& address, Deadline deadline);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Bytes taken; 0: nothing can be written now.
  std::size_t write_some(std::string_view bytes);
  /// Bytes read; 0: nothing has come. Throws when the other side has closed.
  std::size_t read_some(char* into, std::size_t size);

  struct Interest {
    bool read = true;
    bool write = false;
  };
  /// What poll(2) saw. All false: the deadline passed.
  struct Ready {
    bool readable = false;
    bool writable = false;
    bool woken = false;  ///< `wake_fd` became readable
  };
  Ready wait(Interest interest, Deadline deadline, int wake_fd = -1);

 private:
  void connect_unix(const Address& address, Deadline deadline);
  void connect_tcp(const Address& address, Deadline deadline);
  void handshake(const Address& address, Deadline deadline);
  [[noreturn]] void fail(std::string detail, std::string code = {}) const;
  template <class Step>
  std::size_t tls_step(Step step, std::string_view what);

  core::UniqueFd fd_;
  std::string name_;
  std::unique_ptr<Tls> tls_;
  bool tls_reads_ = false;  // what TLS waits for may differ from what its caller wants
  bool tls_writes_ = false;
};

}  // namespace errand::net
