#pragma once
// DecodeFailure: why bytes from outside are not a message, a task or a body.
//
// Whatever a peer sends, the readers of this module throw this and nothing else, so that a caller can turn it into
// a dead letter: `reason` is a stable code that scripts match, detail() one line for people.

#include <errand/error.hpp>

#include <string>
#include <string_view>

namespace errand::protocol {

/// Reason codes of dead letters that come from decoding. Stable: they are stored and matched by scripts.
namespace reason {
inline constexpr std::string_view undecodable = "UNDECODABLE";                ///< the bytes are not what they claim
inline constexpr std::string_view not_a_task = "NOT_A_TASK";                  ///< a message, but no task
inline constexpr std::string_view content_disallowed = "CONTENT_DISALLOWED";  ///< pickle, yaml, ...: never decoded
inline constexpr std::string_view bad_header = "BAD_HEADER";                  ///< a header has the wrong type
inline constexpr std::string_view bad_body = "BAD_BODY";                      ///< JSON, but not [args, kwargs, embed]
inline constexpr std::string_view too_large = "TOO_LARGE";                    ///< beyond a limit, unpacked or nested
}  // namespace reason

/// An Error of kind invalid with a reason code. Safe to copy between threads.
class DecodeFailure : public Error {
 public:
  /// `subject` is the field concerned ("retries", "envelope.body"), `detail` what was expected and what came.
  DecodeFailure(std::string_view reason, std::string subject, std::string detail);

  const std::string& reason() const noexcept { return reason_; }
  /// "retries: expected integer, got text": for the dead letter.
  std::string line() const;

 private:
  std::string reason_;
};

/// Text of a peer made safe to print: control characters and bytes beyond ASCII escaped, cut after `limit`.
std::string printable(std::string_view text, std::size_t limit = 60);

}  // namespace errand::protocol
