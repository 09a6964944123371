#pragma once
// Retries: when a failed task runs again, and what a task throws to speak for itself.
//
//   TaskOptions{.retry = RetryPolicy::exponential(1s, 10min, 5)}          // exp(1s, cap 10min) x5, full jitter
//   throw errand::Retry("provider is busy").in(30s);                      // from inside a task

#include <errand/time.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace errand {

/// How long to wait before attempt n+1, and when to stop. A value.
struct RetryPolicy {
  enum class Shape { fixed, exponential };
  Shape shape = Shape::fixed;
  Milliseconds base{180'000};                    ///< Celery's default_retry_delay
  Milliseconds cap{600'000};                     ///< longest wait (Celery's retry_backoff_max)
  std::optional<std::uint32_t> max_retries = 3;  ///< nullopt: for ever
  bool jitter = false;                           ///< uniformly between zero and the computed wait
  std::optional<TimePoint> until;                ///< no attempt starts after this; the task then ends with that reason
  std::string queue;                             ///< "": the queue it came from

  static RetryPolicy none();
  static RetryPolicy fixed(Milliseconds wait, std::optional<std::uint32_t> max_retries = 3);
  static RetryPolicy exponential(Milliseconds base, Milliseconds cap, std::optional<std::uint32_t> max_retries = 3);
  RetryPolicy into(std::string other_queue) &&;
  RetryPolicy until_time(TimePoint when) &&;
  RetryPolicy without_jitter() &&;

  /// Wait before the retry that follows `retries` retries already made. `uniform` in [0, 1) is the jitter's
  /// draw. Never overflows, never above the cap.
  Milliseconds wait(std::uint32_t retries, double uniform) const noexcept;

  /// "exp(1s, 10min) x5 jitter", "fixed(3min) x3 -> retry-queue": as `errand tasks` prints it.
  std::string describe() const;
  /// Reads what describe() prints and what the configuration file says: `exp(1s, 10min) x5`. Throws Error{invalid}.
  static RetryPolicy parse(std::string_view text);
};

/// Thrown by a task: run me again. The state becomes RETRY with this as the reason.
class Retry : public std::runtime_error {
 public:
  explicit Retry(const std::string& reason) : std::runtime_error(reason) {}
  Retry in(Milliseconds wait) && {
    countdown = wait;
    return std::move(*this);
  }
  Retry at(TimePoint when) && {
    eta = when;
    return std::move(*this);
  }
  Retry on(std::string other_queue) && {
    queue = std::move(other_queue);
    return std::move(*this);
  }
  Retry at_most(std::uint32_t times) && {
    max_retries = times;
    return std::move(*this);
  }
  std::optional<Milliseconds> countdown;  ///< unset: the task's policy
  std::optional<TimePoint> eta;
  std::string queue;                         ///< "": the policy's, else the one it came from
  std::optional<std::uint32_t> max_retries;  ///< unset: the policy's
};

/// Thrown by a task: I will not run this message. Without requeue it goes to the dead letters (REJECTED).
class Reject : public std::runtime_error {
 public:
  explicit Reject(const std::string& reason, bool again = false) : std::runtime_error(reason), requeue(again) {}
  bool requeue;
};

/// Thrown by a task: acknowledge, and leave the stored state as it is.
class Ignore : public std::runtime_error {
 public:
  explicit Ignore(const std::string& reason = "ignored") : std::runtime_error(reason) {}
};

/// Thrown by TaskContext::check_cancelled() once the soft time limit has passed.
class SoftTimeLimitExceeded : public std::runtime_error {
 public:
  SoftTimeLimitExceeded() : std::runtime_error("soft time limit exceeded") {}
};

/// Thrown by TaskContext::check_cancelled() when the task was revoked or the worker stops.
class Cancelled : public std::runtime_error {
 public:
  explicit Cancelled(const std::string& reason) : std::runtime_error(reason) {}
};

/// A failure with the Python class its reader shall see: TaskError("ValueError", "no such size").
/// exc_module is "builtins" for the names Python knows, else as given.
class TaskError : public std::runtime_error {
 public:
  TaskError(std::string class_name, const std::string& message, std::string class_module = "")
      : std::runtime_error(message), type(std::move(class_name)), module(std::move(class_module)) {}
  std::string type;
  std::string module;
};

}  // namespace errand
