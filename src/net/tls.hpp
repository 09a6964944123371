#pragma once
// Tls: OpenSSL's session over a socket that belongs to a stream.

#include "net/stream.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace errand::net {

/// Used by one thread. Destroying it writes nothing.
class Tls {
 public:
  /// Throws Error{invalid} for files that cannot be read.
  Tls(const Address& address, int fd, const std::string& name);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  enum class End { done, wants_read, wants_write, closed, failed };
  struct Outcome {
    End end = End::done;
    std::size_t bytes = 0;  ///< done: how many
    std::string reason;     ///< failed: why, in one line
  };
  Outcome handshake();
  Outcome write(std::string_view bytes);
  Outcome read(char* into, std::size_t size);
  /// Bytes that are decoded already and that poll(2) does not see.
  bool has_buffered() const noexcept;
  /// Why the certificate was refused; "": it was not.
  std::string refusal() const;

 private:
  struct Session;
  Outcome outcome(int code, std::size_t bytes) const;
  std::unique_ptr<Session> session_;
};

}  // namespace errand::net
