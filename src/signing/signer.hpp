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

  /// Copies in order, signed anew. What an unsigned message asked for stays unsigned, and so does a task that the key
  /// of the message that asked for it may not send: a worker's own key must not lend them a right (Envelope::asked_by).
  std::vector<Envelope> sign(std::span<const Envelope> envelopes, TimePoint now);

 private:
  const PrivateKey& key();
  bool may_sign(const Envelope& envelope) const;
  std::string key_id_, key_file_;
  std::vector<TaskSigners> allowed_;
  std::optional<PrivateKey> key_;
};

}  // namespace errand::signing
