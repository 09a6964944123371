#pragma once
// Follow-ups: what a worker sends after a task ended (celery-wire sections 6.2 to 6.5, 6.9).
//
// Signatures stand in the finished message's embed as other peers wrote them, with options and containers Errand may
// not know. So they are applied as they are, as Values: nothing is translated into our own Signature and back.
// Everything here is a function of its input; ids and times come from the options.

#include "protocol/body.hpp"
#include "protocol/exception.hpp"
#include "protocol/task_message.hpp"

#include <errand/message.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace errand::protocol {

/// Most bytes that the follow-ups of one task may have together: a chord's body is repeated in every member.
inline constexpr std::size_t kMaxFollowUpBytes = 64u << 20;

struct FollowUpOptions {
  TimePoint now{};
  std::string origin;                                 ///< sender_origin()
  std::function<Route(std::string_view task)> route;  ///< for signatures that name no queue; unset: queue "celery"
  std::function<std::string()> new_id;                ///< unset: uuid4
  bool inherit_priority = false;                      ///< Celery's task_inherit_parent_priority
  bool park = false;  ///< set not_before from eta: only where nobody but Errand reads the queues
};

/// Announce it (ResultBackend::set_chord_size) before the envelopes leave: without it the chord never fires.
struct ChordSize {
  std::string group;
  std::size_t size = 0;
};

struct FollowUps {
  std::vector<Envelope> envelopes;
  Array children;  ///< Celery's result tuples of what was sent, for the parent's record
  std::vector<ChordSize> chords;

  bool empty() const noexcept { return envelopes.empty(); }
};

/// Callbacks with the result prepended, then the next step of the chain. Throws DecodeFailure: BAD_BODY for a
/// signature that is none, TOO_LARGE beyond kMaxLinks messages or kMaxFollowUpBytes.
FollowUps after_success(const TaskMessage& task, const Embed& embed, std::string_view result_json,
                        const FollowUpOptions& options);

/// Errbacks with the failed task's id prepended, as one group. Throws as after_success.
FollowUps after_failure(const TaskMessage& task, const Embed& embed, const FollowUpOptions& options);

/// One step of a chain that will never run because a step before it failed: FAILURE is stored under its id as well,
/// and one that is a member of a chord (group not empty) is reported to it.
struct WaitingStep {
  TaskId id;
  std::string group;
  std::optional<std::int64_t> index;
  Value chord;  ///< body; null: no member
};
/// In the order they would have run.
std::vector<WaitingStep> waiting_steps(const Embed& embed);

/// The chord's body, sent by the worker of the member that ended last. `results` are in the order of the members.
FollowUps chord_body(const TaskMessage& last_member, const Value& body, std::span<const std::string> results,
                     const FollowUpOptions& options);

/// When a member failed: FAILURE with `error` is stored under every one of `ids`, and the errbacks are sent.
struct ChordFailure {
  std::vector<TaskId> ids;  ///< the body's own, or those of every member of a body that is a group
  ExceptionInfo error;      ///< ChordError naming the member
  FollowUps errbacks;
};
ChordFailure chord_failed(const TaskMessage& last_member, const Value& body, TaskIdView failed_member,
                          const ExceptionInfo& cause, const FollowUpOptions& options);

/// Applies any signature as the task's child: what TaskContext::send does for one that came as data. `first_arg` is
/// JSON put before its arguments, "" for none.
FollowUps apply_signature(const TaskMessage& parent, const Value& signature, std::string_view first_arg,
                          const FollowUpOptions& options);

}  // namespace errand::protocol
