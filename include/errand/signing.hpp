#pragma once
// Signing: who may send a task, proved by every message itself.
//
// Whoever can publish to a broker can run any task with any arguments: that is how Celery's protocol is. With signing,
// a sender puts a signature over the whole message, headers included, into one more header (`errand-sig`), and a worker
// whose queue requires it refuses everything else: to the dead letters, with a SIGNATURE_* reason. Celery's workers
// carry the header along unread, so they still run such tasks. docs/signing.md has the steps and the format.
//
//   errand::TransportOptions transport;
//   transport.signing.key_id = "web-2026";
//   transport.signing.key_file = "/etc/errand/web-2026.pem";             // openssl genpkey -algorithm ed25519
//   transport.signing.trusted = {{"web-2026", "/etc/errand/web-2026.pub"}};
//   transport.signing.policy = errand::SignaturePolicy::require;

#include <errand/time.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// The header that carries a signature.
inline constexpr std::string_view kSignatureHeader = "errand-sig";

/// What a queue asks of its messages.
enum class SignaturePolicy {
  off,      ///< nothing is looked at
  accept,   ///< a signature that is there must be right; for the time in which senders get their keys
  require,  ///< unsigned messages are refused as well
};

/// Tasks that only some keys may send. A message for such a task must be signed even where its queue only accepts.
struct TaskSigners {
  std::string pattern;               ///< the task's name, with * ? and [...] as in file names: "provision.*"
  std::vector<std::string> key_ids;  ///< of SigningOptions::trusted
};

/// What one process signs with and whom it trusts. A value. Files are PEM; keys are Ed25519 (RFC 8032), or RSA of at
/// least 2048 bits (PSS of RFC 8017 with SHA-256). Key ids are 1 to 64 letters, digits, '.', '_' and '-'.
struct SigningOptions {
  std::string key_id;    ///< the name others know the key by; "": this process signs nothing
  std::string key_file;  ///< the private key, without a passphrase, mode 0640 or tighter; read on first use
  /// Public keys by id. Several at once let a key be replaced without a gap: trust the new one, sign with it, then
  /// forget the old one.
  std::map<std::string, std::string> trusted;
  SignaturePolicy policy = SignaturePolicy::off;  ///< of queues not named below
  std::map<std::string, SignaturePolicy> queues;  ///< remote control goes by the strictest of all of them
  std::vector<TaskSigners> allowed;               ///< the first pattern that fits decides; none fits: every trusted key
  Milliseconds max_age{0};               ///< a message older than this, counted from its ETA, is refused; 0: never
  Milliseconds replay_window{600'000};   ///< how long a worker knows a message it has had; clocks may differ by it
  std::size_t max_remembered = 100'000;  ///< messages within the window; beyond it the oldest are forgotten

  bool active() const noexcept { return !key_id.empty() || verifies(); }
  /// Some queue does not have the policy `off`.
  bool verifies() const noexcept {
    return policy != SignaturePolicy::off || std::any_of(queues.begin(), queues.end(), [](const auto& queue) {
             return queue.second != SignaturePolicy::off;
           });
  }
};

/// Reads the keys and forgets them again. Throws Error{invalid} or {denied} naming the file or the option that cannot
/// be used.
void check_signing(const SigningOptions& options);

}  // namespace errand
