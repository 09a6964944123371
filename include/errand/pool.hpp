#pragma once
// Pools: run task bodies and decide nothing. The engine says what to run and when to kill; a pool says what
// happened. solo, threads and prefork differ in how well they isolate.

#include <errand/message.hpp>
#include <errand/registry.hpp>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace errand {

/// One attempt to run one message. Moved to where it runs.
struct Execution {
  std::uint64_t run = 0;  ///< unique within the worker's life; names this attempt in pool messages
  TaskId id;
  std::string task;  ///< registered name
  std::shared_ptr<const Message>
      message;  ///< whole: headers for the context, body still encoded; shared with the engine
  Route route;  ///< delivery_info
  std::string queue;
  bool redelivered = false;
  std::uint32_t retries = 0;
  std::optional<Milliseconds> soft_time_limit;
  std::optional<Milliseconds> time_limit;
  ResourceLimits limits;  ///< kept by prefork
  /// Set: do not run the body. The attempt already ended so outside the task (process lost, hard limit); finish it
  /// where tasks run: failure hooks, errbacks, chord. The outcome's kind is then `failure`.
  std::shared_ptr<const Failure> finish_failure;
};

/// What an attempt came to, produced where the body ran, carried unread to the Committer.
struct Outcome {
  enum class Kind {
    success,
    failure,  ///< final: thrown and no retry applies
    retry,    ///< asks to run again; the engine decides whether it may
    reject,   ///< Reject without requeue
    requeue,  ///< Reject with requeue
    ignore,
    lost,       ///< the process that ran it died
    timed_out,  ///< hard limit
    cancelled,  ///< stopped after a revoke
  };
  std::uint64_t run = 0;
  Kind kind = Kind::success;
  std::string result_json =
      "null";  ///< success: the value; else the exception object {"exc_type","exc_message","exc_module"}
  std::string traceback;
  std::string error_text;                               ///< "ValueError: no such size", for logs
  std::string error_type, error_message, error_module;  ///< its parts
  std::string defect_code;  ///< failure, not empty: the body cannot be read; reason of the dead letter
  std::string defect_detail;
  std::vector<Envelope> follow_ups;  ///< sent by the task, its callbacks, next chain step or errbacks
  std::string children_json = "[]";
  std::string chord_json;  ///< embed.chord, raw, when the message is a chord member
  /// Chords among the follow-ups: announced (ResultBackend::set_chord_size) before the envelopes leave.
  struct ChordSize {
    std::string group;
    std::size_t size = 0;
  };
  std::vector<ChordSize> chord_sizes;
  /// failure: chain steps that will never run; FAILURE is stored under each, and those that are members of a chord
  /// (group not empty) are reported to it.
  struct NeverRun {
    TaskId id;
    std::string group;
    std::optional<std::int64_t> index;
    std::string chord_json;
  };
  std::vector<NeverRun> never_run;
  // retry:
  std::optional<Milliseconds> wait;  ///< already drawn from the policy
  std::optional<TimePoint> eta;
  std::optional<TimePoint> retry_until;  ///< no later attempt starts after this: the message expires then
  std::string retry_queue;
  // measured where it ran:
  std::chrono::nanoseconds duration{};
  std::int64_t peak_rss_kib = 0;
  std::optional<Milliseconds> limit;  ///< timed_out: the hard limit that passed
  int exit_signal = 0;                ///< lost: the signal, 0 if it exited
  int exit_status = 0;
  std::string evidence;                ///< lost, timed_out: where and how, in one line; `traceback` has the long form
  std::string exceeded;                ///< lost: the resource limit that it was ended for, "memory_limit = 64MiB"
  std::string args_json, kwargs_json;  ///< filled when the worker asked for extended results
};

/// Progress of a running task: update_state. Coalesced by the pool to the last per task.
struct Progress {
  std::uint64_t run = 0;
  std::string state;
  std::string meta_json;
};

/// How to stop a running task.
enum class Cancel { cooperative, soft, kill };

/// Where a pool reports. Called from the pool's threads; must not block.
class PoolSink {
 public:
  virtual ~PoolSink() = default;
  /// May be left out when the end of the run is known as well by the time it could be told.
  virtual void started(std::uint64_t run, int pid) = 0;
  virtual void progressed(Progress progress) = 0;
  virtual void finished(Outcome outcome) = 0;
  /// Several that were told together. The same as one by one; a sink may take them in one step.
  virtual void finished_all(std::vector<Outcome> outcomes) {
    for (Outcome& outcome : outcomes) finished(std::move(outcome));
  }
  /// A child ended; `running` names what it was running (0: nothing). For the log (GN-10).
  virtual void process_ended(int pid, int status, std::uint64_t running) = 0;
  /// free_slots() was 0 and is not any more, though nothing has finished: a child that died has been replaced. Who
  /// waits for anything else would not look.
  virtual void room() {}
};

struct PoolOptions {
  std::size_t concurrency = 1;
  std::size_t max_tasks_per_child = 0;       ///< 0: no limit
  std::size_t max_memory_per_child_kib = 0;  ///< 0: no limit
  std::size_t pipeline = 128;  ///< most executions with one child or thread at a time, while they are short
  bool extended_results = false;
  bool typed_json = true;                    ///< may results hold kombu's typed values
  std::size_t max_result_bytes = 16u << 20;  ///< a larger result becomes a failure RESULT_TOO_LARGE
  std::string hostname;                      ///< node name, for the context
};

/// Used by one thread, except that it calls the sink from its own.
class Pool {
 public:
  virtual ~Pool() = default;
  virtual std::string_view name() const noexcept = 0;
  virtual void start(const Registry& registry, PoolSink& sink) = 0;
  /// Executions it takes now without making one wait behind a long one.
  virtual std::size_t free_slots() const noexcept = 0;
  virtual void run(std::span<Execution> executions) = 0;
  /// Stops one run. Unknown runs are ignored: it may have ended meanwhile.
  virtual void cancel(std::uint64_t run, Cancel how, std::string_view reason) = 0;
  /// Takes back executions that have not begun; they are returned and will not be reported.
  virtual std::vector<std::uint64_t> reclaim() = 0;
  /// Ends everything by the deadline; what still runs then is killed and reported as lost.
  virtual void stop(Deadline deadline) = 0;
  /// Process ids of children, empty for pools in this process.
  virtual std::vector<int> processes() const = 0;
};

}  // namespace errand
