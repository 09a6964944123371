#pragma once
// Keys of messages: Ed25519 (RFC 8032) and RSA-PSS with SHA-256 (RFC 8017), read from PEM files. The one place of the
// module that knows OpenSSL.

#include <memory>
#include <string>
#include <string_view>

struct evp_pkey_st;

namespace errand::signing {

/// How a key signs, as it stands in the header.
inline constexpr std::string_view kEd25519 = "ed25519";
inline constexpr std::string_view kRsaPss = "rsa-pss-sha256";
inline constexpr int kLeastRsaBits = 2048;

struct FreeKey {
  void operator()(evp_pkey_st* key) const noexcept;
};
using KeyHandle = std::unique_ptr<evp_pkey_st, FreeKey>;

/// Signs. Used by one thread at a time.
class PrivateKey {
 public:
  /// Throws Error{invalid} naming the file: not there, no key, of another kind, too short, with a passphrase; {denied}
  /// when others may read it.
  static PrivateKey read(const std::string& path);
  std::string_view algorithm() const noexcept { return algorithm_; }
  std::string sign(std::string_view bytes) const;

 private:
  PrivateKey(KeyHandle key, std::string_view algorithm) : key_(std::move(key)), algorithm_(algorithm) {}
  KeyHandle key_;
  std::string_view algorithm_;
};

/// Verifies. Used by one thread at a time.
class PublicKey {
 public:
  /// Throws Error{invalid} as PrivateKey::read. A private key is refused: it does not belong where one only verifies.
  static PublicKey read(const std::string& path);
  std::string_view algorithm() const noexcept { return algorithm_; }
  bool verifies(std::string_view bytes, std::string_view signature) const;

 private:
  PublicKey(KeyHandle key, std::string_view algorithm) : key_(std::move(key)), algorithm_(algorithm) {}
  KeyHandle key_;
  std::string_view algorithm_;
};

/// SHA-256 as 64 hexadecimal digits.
std::string sha256_hex(std::string_view bytes);
/// Random bytes fit for secrets.
std::string random_bytes(std::size_t count);

}  // namespace errand::signing
