#pragma once
// TaskContext: what a running task knows and may do besides computing. Celery's `self` and `self.request`.

#include <errand/limits.hpp>
#include <errand/message.hpp>
#include <errand/signature.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// What the context needs from whoever runs the task. Implemented by the runner; by tests for tasks alone.
class ContextHost {
 public:
  virtual ~ContextHost() = default;
  virtual void progress(std::string_view state, const Value& meta) = 0;
  virtual void log(std::string_view line) = 0;
  /// Why the task should stop, or empty. Cheap: one atomic load.
  virtual std::string_view stop_reason() const noexcept = 0;
  virtual bool soft_limit_passed() const noexcept = 0;
  /// Queues a follow-up; returns its id.
  virtual TaskId send(Signature signature) = 0;
};

/// One attempt. Lives as long as the call; not copied; used by the thread that runs the task.
class TaskContext {
 public:
  struct Request {
    TaskId id;
    std::string task;
    std::string queue;
    Route route;
    std::string root_id, parent_id, group_id, reply_to, correlation_id, origin, hostname;
    std::uint32_t retries = 0;
    bool redelivered = false;
    int priority = 0;
    std::optional<TimePoint> eta, expires;
    std::optional<Milliseconds> time_limit, soft_time_limit;
    ResourceLimits limits;
    /// As it came: its headers, custom ones included, and its properties. nullptr where no worker made the context.
    std::shared_ptr<const Message> message;
  };

  TaskContext(Request request, ContextHost& host) : request_(std::move(request)), host_(&host) {}
  TaskContext(const TaskContext&) = delete;
  TaskContext& operator=(const TaskContext&) = delete;

  const Request& request() const noexcept { return request_; }
  const TaskId& id() const noexcept { return request_.id; }
  std::uint32_t retries() const noexcept { return request_.retries; }

  /// Stores progress for the sender to see: state PROGRESS with {"current", "total"}, or any word with any value.
  /// Coalesced: the last one always arrives, not every one.
  void progress(std::int64_t current, std::int64_t total);
  void update_state(std::string_view state, const Value& meta);

  /// Sends another task as this one's child. It leaves when this attempt's outcome is stored, before the
  /// acknowledgement: a crash in between repeats the task but never loses or orphans the child.
  TaskId send(Signature signature) { return host_->send(std::move(signature)); }

  /// True once the soft limit passed, the task was revoked, or the worker wants it to stop.
  bool should_stop() const noexcept { return host_->soft_limit_passed() || !host_->stop_reason().empty(); }
  /// Throws SoftTimeLimitExceeded or Cancelled when should_stop(). Long tasks call it in their loops.
  void check_cancelled() const;

  /// A line in this task's log.
  void log(std::string_view line) { host_->log(line); }

 private:
  Request request_;
  ContextHost* host_;
};

}  // namespace errand
