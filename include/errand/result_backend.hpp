#pragma once
// Result backends: where the state and the result of a task are kept for its sender.
//
// Records are Celery's (celery/backends/base.py, celery-wire section 5): the same fields whatever the store.

#include <errand/message.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// The states of Celery. Any other word is a custom state of the task's own, such as "PROGRESS".
namespace state {
inline constexpr std::string_view pending = "PENDING";  ///< never stored: no record means pending
inline constexpr std::string_view received = "RECEIVED";
inline constexpr std::string_view started = "STARTED";
inline constexpr std::string_view retry = "RETRY";
inline constexpr std::string_view success = "SUCCESS";
inline constexpr std::string_view failure = "FAILURE";
inline constexpr std::string_view revoked = "REVOKED";
/// SUCCESS, FAILURE and REVOKED: nothing more will come.
constexpr bool ready(std::string_view s) { return s == success || s == failure || s == revoked; }
}  // namespace state

/// What is known of one task. A value.
struct TaskResult {
  TaskId id;
  std::string state{state::pending};
  std::string result_json = "null";  ///< return value, progress, or the exception object, as JSON text, carried unread
  std::string traceback;             ///< "" is written as null
  std::string children_json = "[]";  ///< array of Celery's result tuples; "null": unknown
  std::optional<TimePoint> done_at;  ///< set for ready states only
  std::string group_id;              ///< "" : the field is left out
  std::string parent_id;             ///< "" : the field is left out
  std::uint64_t token = 0;           ///< of the delivery that writes; an older one never replaces a newer one
  std::uint32_t retries = 0;

  /// The extended fields (result_extended), as Celery writes them.
  struct Extended {
    std::string name;
    std::string args_json = "null";
    std::string kwargs_json = "null";
    std::string worker;
    std::string queue;
  };
  std::optional<Extended> extended;
};

/// One member of a chord has ended.
struct ChordPart {
  TaskId id;
  std::string state;
  std::string result_json;            ///< result, or exception object
  std::optional<std::int64_t> index;  ///< group_index
};

/// Answer to a chord's part: complete means that this caller, and nobody else, sends the body.
struct ChordProgress {
  bool complete = false;
  std::vector<std::string> results;  ///< result_json of every member in group_index order, when complete
  std::string failed_member;         ///< id of the first failed member, when complete and one failed
  std::string failure_json;          ///< its exception object
};

struct BackendTraits {
  std::string_view name;
  bool pushes = false;  ///< wait() is told, not polling
  bool durable = false;
  bool chords = false;  ///< chord_part_done works
  bool foreign_readers = false;
  std::size_t max_result_bytes = 0;  ///< 0: no limit of its own
};

/// Used by one thread at a time; owns its connection. All throw Error{unavailable} when the store is away.
class ResultBackend {
 public:
  virtual ~ResultBackend() = default;
  virtual BackendTraits traits() const noexcept = 0;

  /// Upserts all of them, in one round trip where the store can, and tells those who wait. A stored
  /// SUCCESS is never replaced, and a record written with a newer token never by an older one.
  virtual void put(std::span<const TaskResult> results) = 0;
  virtual std::optional<TaskResult> get(TaskIdView id) = 0;
  /// The record once its state is ready; nullopt at the deadline.
  virtual std::optional<TaskResult> wait(TaskIdView id, Deadline deadline) = 0;
  virtual void forget(TaskIdView id) = 0;
  /// Saves the member ids of a group (GroupResult.save).
  virtual void put_group(GroupIdView group, std::span<const TaskId> members) = 0;
  virtual std::optional<std::vector<TaskId>> get_group(GroupIdView group) = 0;
  /// Books one finished member of the chord with this group id; complete for exactly one member. That one is told
  /// so again when it asks again, because its worker may have died before the body was sent.
  virtual ChordProgress chord_part_done(GroupIdView group, const ChordPart& part) = 0;
  /// Announces how many members a chord has (celery-taskset-meta-<gid>.s); written before the last is sent.
  virtual void set_chord_size(GroupIdView group, std::size_t size) = 0;
  /// Deletes ready records older than that, where the store does not expire them itself; returns how many.
  virtual std::size_t expire(TimePoint older_than) = 0;
};

}  // namespace errand
