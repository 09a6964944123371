#pragma once
// Signer: puts a signature into everything a process sends.

#include "signing/key.hpp"

#include <errand/message.hpp>
#include <errand/signing.hpp>

#include <optional>
#include <span>
#include <vector>

namespace errand::signing {

/// Used by one thread. The key is read on first use, so that it never stands in the memory of the pool's processes,
/// which are forked before that.
class Signer {
 public:
  /// Reads the key once and forgets it, so that a wrong one is found now. Throws Error as PrivateKey::read.
  explicit Signer(const SigningOptions& options);

  /// Signed copies, in order; what a signature of somebody else covered is replaced.
  std::vector<Envelope> sign(std::span<const Envelope> envelopes, TimePoint now);

 private:
  const PrivateKey& key();
  std::string key_id_, key_file_;
  std::optional<PrivateKey> key_;
};

}  // namespace errand::signing
