#pragma once
// Registry: the tasks a worker can run. Filled in main(), read-only once a worker has started.
//
//   errand::Registry registry;
//   registry.add(thumbnail, [](errand::TaskContext& task, std::string path, int width) { ... return bytes; },
//                {.queue = "media", .retry = RetryPolicy::exponential(1s, 10min, 5).retry_on<NetworkError>()});

#include <errand/retry.hpp>
#include <errand/signature.hpp>
#include <errand/task.hpp>

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// A rate: at most `tasks` starts per `per`. "10/m" in Celery's words. Zero tasks: no limit.
struct RateLimit {
  double tasks = 0;
  Milliseconds per{1000};
  /// Celery's forms: "10/s", "100/m", "3/h", "5" (per second), "" or "0" (none). Throws Error{invalid}.
  static RateLimit parse(std::string_view text);
  std::string describe() const;
};

/// What is known of an error that ended an attempt, for hooks and retry rules.
struct Failure {
  std::string type;     ///< class name as the result shows it
  std::string message;
  std::string module;
  std::string traceback;
  std::exception_ptr exception;  ///< null when the process died or the error came from outside
};

/// Says which policy applies to an error class; the first rule that matches wins.
struct RetryRule {
  std::function<bool(const Failure&)> matches;
  RetryPolicy policy;
  std::string describes;  ///< class name, for the catalogue
};

template <class E>
RetryRule retry_on(RetryPolicy policy, std::string name = "");  // defined in task.hpp's companion registry.ipp

/// Options of one task. Celery's names where it has one.
struct TaskOptions {
  std::string queue;                      ///< "": by routes, then the default queue
  bool queue_required = false;            ///< sending without a queue throws (a queue per host)
  bool acks_late = true;                  ///< acknowledged after the outcome is stored; false: when it starts
  bool ignore_result = false;
  bool track_started = false;             ///< store STARTED
  std::optional<Milliseconds> time_limit;
  std::optional<Milliseconds> soft_time_limit;
  std::optional<int> priority;
  RateLimit rate_limit;                   ///< per worker
  RetryPolicy retry = RetryPolicy::none();   ///< for errors no rule in `retry_on` names; none: they fail at once
  std::vector<RetryRule> retry_on;
  std::vector<RetryRule> never_retry;     ///< these fail at once (policy unused)
  std::optional<Milliseconds> expires;    ///< default for callers that link this definition
  std::string description;
};

class TaskContext;

/// Wraps the run of tasks: middleware. Every function has a default that does nothing. Called in the process
/// that runs the task; after_process_died() in the supervisor. A hook that throws is logged and changes nothing,
/// except before(), whose Retry, Reject or Ignore are honoured.
class Hooks {
 public:
  virtual ~Hooks() = default;
  virtual void before(TaskContext& task, const Array& args, const Object& kwargs);
  virtual void on_success(TaskContext& task, const Value& result);
  virtual void on_retry(TaskContext& task, const Failure& why, Milliseconds wait);
  /// Exactly once for a task that finally failed: thrown, timed out, or its process died.
  virtual void on_failure(TaskContext& task, const Failure& why, const Array& args, const Object& kwargs);
  virtual void after(TaskContext& task, std::string_view state);
};

/// One registered task, type-erased.
struct TaskDefinition {
  std::string name;
  TaskOptions options;
  TaskSchema schema;     ///< parameters, result, defaults
  /// Binds and converts the arguments, runs the function, converts the result. Throws what the function throws,
  /// and TaskError{"TypeError"} with Python's wording for wrong arguments.
  std::function<Value(TaskContext&, const Array& args, const Object& kwargs)> invoke;
  std::vector<std::shared_ptr<Hooks>> hooks;  ///< the registry's first, then the task's own
};

/// Not synchronised: fill it, then share it read-only.
class Registry {
 public:
  /// Registers the function under the task's name. The function takes (TaskContext&, A...) or (A...).
  /// Throws Error{conflict} if the name is taken.
  template <class R, class... A, class F>
  void add(const Task<R(A...)>& task, F function, TaskOptions options = {});
  void add(TaskDefinition definition);
  /// Takes over every task defined with errand::linked (see task.hpp) in any linked translation unit.
  void add_linked();
  /// Runs around every task.
  void use(std::shared_ptr<Hooks> hooks);
  /// Runs around the tasks of that name.
  void use(std::string_view task, std::shared_ptr<Hooks> hooks);

  const TaskDefinition* find(std::string_view name) const;
  std::vector<const TaskDefinition*> all() const;  ///< sorted by name
  bool empty() const noexcept;

 private:
  std::map<std::string, TaskDefinition, std::less<>> tasks_;
  std::vector<std::shared_ptr<Hooks>> hooks_;
};

}  // namespace errand
