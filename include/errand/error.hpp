#pragma once
// Errors: one class; the kind says what the caller can do about it.
//
//   throw Error({.kind = ErrorKind::in_doubt, .operation = "redis.publish", .subject = "media",
//                .detail = "connection closed while waiting for the reply", .code = "ECONNRESET"});
//   what(): redis.publish: connection closed while waiting for the reply (media, code ECONNRESET, in doubt)
//
// Expected answers (no result yet, queue empty) are return values, not errors.

#include <stdexcept>
#include <string>
#include <string_view>

namespace errand {

/// What the caller can do. Only `unavailable` and `overloaded` are retried by machines.
enum class ErrorKind {
  invalid,      ///< the caller's input is wrong; fix it
  not_found,    ///< the thing named does not exist
  conflict,     ///< somebody else changed or holds it
  denied,       ///< credentials or rights are missing
  unavailable,  ///< the other side cannot be reached now; nothing was done
  overloaded,   ///< a limit was reached; nothing was done; slow down
  in_doubt,     ///< sent, but the answer never came; retry only what is idempotent by id
  unsupported,  ///< this driver or peer cannot do it
  bug           ///< a promise inside Errand was broken; report it
};

/// "invalid", "not found", ... as printed in messages and JSON.
std::string_view to_string(ErrorKind kind) noexcept;

/// The one exception type Errand throws to its users. Immutable; safe to copy between threads.
class Error : public std::runtime_error {
 public:
  struct Fields {
    ErrorKind kind = ErrorKind::bug;
    std::string operation;  ///< "redis.publish": module and verb
    std::string subject;    ///< the queue, task, key or file concerned; never a secret
    std::string detail;     ///< what was expected, what came, what to do
    std::string code;       ///< the other side's own code, if it gave one
  };

  explicit Error(Fields fields);

  ErrorKind kind() const noexcept { return fields_.kind; }
  const std::string& operation() const noexcept { return fields_.operation; }
  const std::string& subject() const noexcept { return fields_.subject; }
  const std::string& detail() const noexcept { return fields_.detail; }
  const std::string& code() const noexcept { return fields_.code; }

  /// True for the kinds a machine may simply try again.
  bool retryable() const noexcept {
    return fields_.kind == ErrorKind::unavailable || fields_.kind == ErrorKind::overloaded;
  }

 private:
  Fields fields_;
};

}  // namespace errand
