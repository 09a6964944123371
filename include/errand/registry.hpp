#pragma once
// Registry: the tasks a worker can run. Filled in main(), read-only once a worker has started.
//
//   errand::Registry registry;
//   registry.add(thumbnail, [](errand::TaskContext& task, std::string path, int width) { ... return bytes; },
//                {.queue = "media", .retry_on = {errand::retry_on<NetworkError>(RetryPolicy::exponential(1s, 10min,
//                5))}});

#include <errand/limits.hpp>
#include <errand/retry.hpp>
#include <errand/signature.hpp>
#include <errand/task.hpp>

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
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
  std::string type;  ///< class name as the result shows it
  std::string message;
  std::string module;
  std::string traceback;
  std::exception_ptr exception;  ///< null when the process died or the error came from outside
};

/// "errand::Error" for typeid(errand::Error).
std::string readable_type_name(const std::type_info& type);

/// Says which policy applies to an error class; the first rule that matches wins.
struct RetryRule {
  std::function<bool(const Failure&)> matches;
  RetryPolicy policy;
  std::string describes;  ///< class name, for the catalogue
};

/// For a C++ exception class and everything derived from it.
template <class E>
RetryRule retry_on(RetryPolicy policy) {
  return {[](const Failure& failure) {
            if (!failure.exception) return false;
            try {
              std::rethrow_exception(failure.exception);
            } catch (const E&) {
              return true;
            } catch (...) {
              return false;
            }
          },
          std::move(policy), readable_type_name(typeid(E))};
}
/// For a class name as results show it: "ConnectionError", or with its module "requests.exceptions.Timeout".
RetryRule retry_on_type(std::string type, RetryPolicy policy);
/// Fails at once, whatever the task's policy says.
template <class E>
RetryRule never_retry() {
  return retry_on<E>(RetryPolicy::none());
}

/// Options of one task. Celery's names where it has one.
struct TaskOptions {
  std::string queue{};          ///< "": by routes, then the default queue
  bool queue_required = false;  ///< sending without a queue throws (a queue per host)
  bool acks_late = true;        ///< acknowledged after the outcome is stored; false: when it starts
  bool ignore_result = false;
  bool track_started = false;  ///< store STARTED
  std::optional<Milliseconds> time_limit{};
  std::optional<Milliseconds> soft_time_limit{};
  std::optional<int> priority{};
  RateLimit rate_limit{};                   ///< per worker
  RetryPolicy retry = RetryPolicy::none();  ///< for errors no rule in `retry_on` names; none: they fail at once
  std::vector<RetryRule> retry_on{};        ///< by error class; the first that matches wins
  std::optional<Milliseconds> expires{};    ///< default for callers that link this definition
  ResourceLimits limits{};                  ///< memory, processor time, files, processes; of the pool prefork
  std::string description{};
};

namespace codec {
/// A bound argument that does not decode is the caller's TypeError, not the task's.
[[noreturn]] void bad_argument(std::string_view task, const Error& error);
}  // namespace codec

/// The policy for an error of this task: that of the first rule that matches, else the task's own.
const RetryPolicy& retry_policy_for(const TaskOptions& options, const Failure& failure);

/// Decodes bound arguments to their types. Throws TaskError{"TypeError"} naming the parameter and the path inside it.
template <class... T>
std::tuple<T...> decode_bound(std::string_view task, const TaskSchema& schema, const Array& bound) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    try {
      return std::tuple<T...>{Codec<T>::decode(bound[I], schema.parameters[I].name)...};
    } catch (const Error& error) {
      codec::bad_argument(task, error);
    }
  }(std::index_sequence_for<T...>());
}

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
  TaskSchema schema;  ///< parameters, result, defaults
  /// Binds and converts the arguments, runs the function, converts the result. Throws what the function throws,
  /// and TaskError{"TypeError"} with Python's wording for wrong arguments.
  std::function<Value(TaskContext&, const Array& args, const Object& kwargs)> invoke;
  std::vector<std::shared_ptr<Hooks>> hooks;  ///< the registry's first, then the task's own
};

/// Erases the types of a task and its function. The function takes (TaskContext&, A...) or (A...).
template <class R, class... A, class F>
TaskDefinition define(const Task<R(A...)>& task, F function, TaskOptions options = {}) {
  constexpr bool kWithContext = std::is_invocable_v<F&, TaskContext&, A...>;
  static_assert(kWithContext || std::is_invocable_v<F&, A...>,
                "the function must take the task's parameters, with or without a TaskContext& before them");
  TaskDefinition definition;
  definition.name = std::string(task.name());
  definition.options = std::move(options);
  definition.schema = task.schema();
  auto call = [function = std::move(function)](TaskContext& context,
                                               std::remove_cvref_t<A>... args) mutable -> decltype(auto) {
    if constexpr (kWithContext)
      return std::invoke(function, context, std::move(args)...);
    else
      return std::invoke(function, std::move(args)...);
  };
  using Result = std::invoke_result_t<decltype(call)&, TaskContext&, std::remove_cvref_t<A>...>;
  static_assert(std::is_void_v<R> || std::is_convertible_v<Result, R>,
                "the function must return the task's result type");
  definition.invoke = [name = definition.name, schema = definition.schema, call = std::move(call)](
                          TaskContext& context, const Array& args, const Object& kwargs) mutable -> Value {
    const Array bound = bind_arguments(name, schema, args, kwargs);
    return [&]<std::size_t... I>(std::index_sequence<I...>) -> Value {
      auto decoded = decode_bound<std::remove_cvref_t<A>...>(name, schema, bound);
      if constexpr (std::is_void_v<R>) {
        call(context, std::move(std::get<I>(decoded))...);
        return Value();
      } else {
        return Codec<R>::encode(call(context, std::move(std::get<I>(decoded))...));
      }
    }(std::index_sequence_for<A...>());
  };
  return definition;
}

/// A task defined anywhere in the program, at namespace scope: `inline const errand::Linked thumbnail_task{thumbnail,
/// make_thumbnail};`. It only puts itself on a list; Registry::add_linked(), called by main, takes what is there.
class Linked {
 public:
  template <class R, class... A, class F>
  Linked(const Task<R(A...)>& task, F function, TaskOptions options = {})
      : make_([task, function, options] { return define(task, function, options); }) {
    join();
  }
  Linked(const Linked&) = delete;
  Linked& operator=(const Linked&) = delete;

 private:
  friend class Registry;
  void join();
  std::function<TaskDefinition()> make_;
  const Linked* next_ = nullptr;
};

/// Not synchronised: fill it, then share it read-only.
class Registry {
 public:
  /// Registers the function under the task's name. The function takes (TaskContext&, A...) or (A...).
  /// Throws Error{conflict} if the name is taken, {invalid} for a default that does not fit its parameter.
  template <class R, class... A, class F>
  void add(const Task<R(A...)>& task, F function, TaskOptions options = {}) {
    add(define(task, std::move(function), std::move(options)));
  }
  void add(TaskDefinition definition);
  /// Takes over every task defined with Linked in any translation unit of the program. Once; again does nothing.
  void add_linked();
  /// Runs around every task.
  void use(const std::shared_ptr<Hooks>& hooks);
  /// Runs around the tasks of that name.
  void use(std::string_view task, std::shared_ptr<Hooks> hooks);

  const TaskDefinition* find(std::string_view name) const;
  std::vector<const TaskDefinition*> all() const;  ///< sorted by name
  bool empty() const noexcept;

 private:
  std::map<std::string, TaskDefinition, std::less<>> tasks_;
  std::vector<std::shared_ptr<Hooks>> hooks_;
  bool linked_ = false;
};

}  // namespace errand
