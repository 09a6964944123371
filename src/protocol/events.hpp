#pragma once
// Events of tasks and workers, as Flower and `celery events` read them (celery-wire section 7).
//
// Only the format: who sends them when is the worker's business. An event is one JSON object; task events of a worker
// may travel together as an array under task.multi.

#include "protocol/exception.hpp"
#include "protocol/task_message.hpp"

#include <errand/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace errand::protocol {

inline constexpr std::string_view kEventExchange = "celeryev";
inline constexpr std::size_t kEventBatch = 24;       ///< most task events in one message, Celery's own number
inline constexpr std::size_t kMaxEventReads = 1024;  ///< most events read from one message of a peer

/// A Lamport clock (section 7.3). Used by one thread.
class LamportClock {
 public:
  explicit LamportClock(std::uint64_t value = 0) noexcept : value_(value) {}
  std::uint64_t value() const noexcept { return value_; }
  /// The stamp of something that is sent.
  std::uint64_t send() noexcept { return ++value_; }
  /// Something stamped came in.
  std::uint64_t receive(std::uint64_t stamp) noexcept;

 private:
  std::uint64_t value_;
};

/// Who sends events.
struct EventSource {
  std::string hostname;  ///< node name, celery@host; of a client its origin
  int pid = 0;
  int utcoffset = 0;  ///< hours west of UTC
};

/// What worker-online, worker-heartbeat and worker-offline tell.
struct WorkerVitals {
  double freq = 2.0;  ///< seconds between heartbeats
  std::size_t active = 0;
  std::uint64_t processed = 0;
  std::array<double, 3> loadavg{};
  std::string software = "errand";
  std::string version;
  std::string system = "Linux";
};

/// Builds event objects. The clock must outlive it.
class EventBuilder {
 public:
  EventBuilder(EventSource source, LamportClock& clock) : source_(std::move(source)), clock_(&clock) {}

  /// `type` is worker-online, worker-heartbeat or worker-offline.
  Object worker(std::string_view type, TimePoint now, const WorkerVitals& vitals);
  Object task_sent(TimePoint now, const Message& message, const Route& route, std::string_view queue);
  Object task_received(TimePoint now, const TaskMessage& task);
  Object task_started(TimePoint now, TaskIdView id);
  Object task_succeeded(TimePoint now, TaskIdView id, std::string_view result_json, double runtime_seconds);
  Object task_failed(TimePoint now, TaskIdView id, const ExceptionInfo& error, std::string_view traceback);
  Object task_retried(TimePoint now, TaskIdView id, const ExceptionInfo& cause, std::string_view traceback);
  Object task_revoked(TimePoint now, TaskIdView id, bool terminated, std::optional<int> signal, bool expired);
  Object task_rejected(TimePoint now, TaskIdView id, bool requeue);
  /// task-<name> of a task's own, with any fields.
  Object task_custom(TimePoint now, std::string_view type, TaskIdView id, const Object& fields);

  /// One event, under the key of its type.
  Envelope envelope(Object event) const;
  /// Task events together, under task.multi.
  Envelope envelope(std::span<const Object> batch) const;

 private:
  Object begin();
  static Object finish(Object event, TimePoint now, std::string_view type);
  Envelope wrap(std::string routing_key, std::string body) const;

  EventSource source_;
  LamportClock* clock_;
};

/// "task-sent" -> "task.sent".
std::string event_routing_key(std::string_view type);

/// The events inside a message of any peer: one object or an array of them under any key. What is no event (no object,
/// no text `type`) is left out. Throws DecodeFailure when the body is not JSON.
std::vector<Object> read_events(const Message& message);

}  // namespace errand::protocol
