#pragma once
// Verifier: whether a message may be run here, by its signature and the policy of its queue. Decides; does nothing.

#include "signing/header.hpp"
#include "signing/key.hpp"

#include <errand/signing.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace errand::signing {

/// Reasons of dead letters. Stable: they are stored and matched by scripts.
namespace reason {
inline constexpr std::string_view missing = "SIGNATURE_MISSING";          ///< the queue or the task requires one
inline constexpr std::string_view malformed = "SIGNATURE_MALFORMED";      ///< the header is not of version 1
inline constexpr std::string_view unknown_key = "SIGNATURE_UNKNOWN_KEY";  ///< not a key that is trusted here
inline constexpr std::string_view invalid = "SIGNATURE_INVALID";  ///< the message is not the one that was signed
inline constexpr std::string_view not_allowed = "SIGNATURE_NOT_ALLOWED";  ///< the signer may not send this task
inline constexpr std::string_view expired = "SIGNATURE_EXPIRED";          ///< older than max_age
inline constexpr std::string_view early = "SIGNATURE_EARLY";              ///< signed in the future
inline constexpr std::string_view replayed = "SIGNATURE_REPLAYED";        ///< a copy of a message that was here before
}  // namespace reason

/// What came of a look at a message.
struct Verdict {
  std::string_view refused;  ///< one of the reasons; "": let it pass
  std::string detail;        ///< for people, one line
  std::string nonce;         ///< of a message that passed with a signature: names this sending, in this queue
  std::string key_id;        ///< the same: whose it is
};

class Verifier {
 public:
  /// Reads the trusted keys. Throws Error{invalid} naming the file, or the option that makes no sense.
  explicit Verifier(const SigningOptions& options);

  SignaturePolicy policy(std::string_view queue) const;
  /// A task message from a queue. `now` is the broker's clock.
  Verdict judge(const Message& message, const Route& route, std::string_view queue, TimePoint now) const;
  /// A command of remote control: by the strictest policy of all queues, and not older than the replay window, for
  /// commands do not wait.
  Verdict judge_command(const Message& message, const Route& route, TimePoint now) const;

 private:
  Verdict judge_by(SignaturePolicy policy, Milliseconds max_age, const TaskSigners* signers, const Message& message,
                   const Route& route, TimePoint now) const;

  SigningOptions options_;
  SignaturePolicy strictest_ = SignaturePolicy::off;
  std::map<std::string, PublicKey, std::less<>> keys_;
};

}  // namespace errand::signing
