#pragma once
// The header `errand-sig`, and the bytes that its signature is over (docs/signing.md has both).
//
//   errand-sig: "1;web-2026;ed25519;1795881600123456;<nonce>;<signature>"
//
// Everything a worker goes by is covered: the route, content type and encoding, correlation id and reply queue, every
// header, and the body by its hash. Left out is what brokers write on the way (`redelivered`, RabbitMQ's `x-death` and
// its like), and the signature itself.

#include <errand/message.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace errand::signing {

inline constexpr std::size_t kNonceBytes = 16;
inline constexpr std::size_t kMostHeaderBytes = 4'096;  ///< an RSA key of 16384 bits still fits

/// The fields before the signature, as texts without ';'.
struct SignatureHeader {
  std::string key_id;
  std::string algorithm;
  TimePoint issued{};
  std::string nonce;      ///< base64 of kNonceBytes random bytes
  std::string signature;  ///< raw bytes
};

std::string format_header(const SignatureHeader& header);
/// nullopt: not one of version 1.
std::optional<SignatureHeader> parse_header(std::string_view text);

/// Letters, digits, '.', '_', '-'; 1 to 64 of them.
bool is_key_id(std::string_view text) noexcept;

/// What is signed: one JSON array, the same for everybody who holds the same message. Throws Error{invalid} for a
/// header that has no JSON form.
std::string signed_bytes(const Message& message, const Route& route, const SignatureHeader& header);

}  // namespace errand::signing
