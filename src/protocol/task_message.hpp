#pragma once
// TaskMessage: the headers of a task, decoded once at the border (celery-wire sections 1.1, 1.2, 1.10).
//
// Protocol 2 keeps everything a worker decides by in headers, so the body stays unread here. Protocol 1 keeps all in
// the body; it is rewritten into protocol 2 in place, and nobody behind this file knows of it.

#include <errand/message.hpp>
#include <errand/signature.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::protocol {

/// A task's headers and the properties that matter to it. A value. Headers that are unset hold the empty value.
struct TaskMessage {
  std::string task;
  TaskId id;
  std::string lang;
  std::string shadow;
  std::optional<TimePoint> eta;
  std::optional<TimePoint> expires;
  std::string group;
  std::optional<std::int64_t> group_index;
  std::uint32_t retries = 0;
  std::optional<Milliseconds> time_limit;
  std::optional<Milliseconds> soft_time_limit;
  std::string root_id;
  std::string parent_id;
  std::string argsrepr;
  std::string kwargsrepr;
  std::string origin;
  std::optional<bool> ignore_result;
  std::int64_t replaced_task_nesting = 0;
  std::vector<std::string> stamped_headers;
  Object stamps;
  std::string compression;
  Object custom;  ///< every other header, in order; what the task reads as its own headers

  std::string reply_to;        ///< property
  std::string correlation_id;  ///< property
  int priority = 0;            ///< property
};

/// Decodes, and rewrites a protocol 1 or hybrid message into protocol 2 in place: headers complete, body
/// [args, kwargs, embed] without compression. Throws DecodeFailure: NOT_A_TASK; BAD_HEADER naming the field, the
/// type expected and the type given (fault F119); for protocol 1 also what Body throws. A message for which it throws
/// is unchanged.
TaskMessage decode_task(Message& message);
/// The same without touching the message: for looking at it.
TaskMessage decode_task(const Message& message);

/// What a sender adds to every message of its own.
struct SenderInfo {
  TimePoint now{};                  ///< countdown and expires_in count from here
  std::string origin;               ///< "gen<pid>@<host>", see sender_origin()
  std::string reply_to;             ///< when the call names none
  bool typed_json = false;          ///< bytes may be written as kombu's typed value
  int delivery_mode = 2;            ///< 1: transient
  std::string default_compression;  ///< when the call names none; "": none
};

/// "gen4711@host".
std::string sender_origin();

/// The message of one call: every protocol 2 header, null when unset, lang "cpp"; body with links and chain inside.
/// The call must have a task_id, and so must the chain's steps (see freeze in signature_json.hpp). Throws
/// Error{invalid} naming what is wrong: no task, no id, unknown compression, value without JSON form.
Message encode_task(const Signature& call, const SenderInfo& sender);

/// The message that replaces one whose task asked to run again: same id, body bytes untouched, unknown headers,
/// priority, stamps and expires kept; parent_id is its own id if it had none (what Celery does, section 6.7);
/// marks of redelivery removed. With `now`, the property `expiration` counts anew from there. `until` makes it expire
/// then unless it does so sooner.
Message retry_of(const Message& original, std::uint32_t retries, std::optional<TimePoint> eta,
                 std::optional<TimePoint> now = std::nullopt, std::optional<TimePoint> until = std::nullopt);
/// Where it goes: the queue it came from, or the one the task asked for.
Route retry_route(const Route& original, std::string_view queue);

}  // namespace errand::protocol
