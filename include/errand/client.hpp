#pragma once
// Client: sends tasks and reads what came of them.
//
//   errand::Client client({.broker_url = "redis://localhost/0"});
//   auto result = client.send(thumbnail("cat.png", 200).on("media"));   // typed: knows that an int comes back
//   int bytes = result.get(10s);
//   client.send(errand::Signature("media.thumbnail", {"cat.png"}));     // by name: checked where a catalogue is known
//
// A call's queue wins over the task's own, that over routes, and those over the default queue.

#include <errand/catalogue.hpp>
#include <errand/codec.hpp>
#include <errand/drivers.hpp>
#include <errand/signature.hpp>
#include <errand/task.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace errand {

/// Thrown by AsyncResult::get(): the task failed. The fields are what the worker stored, as data; a Python class name
/// is only a name here.
class TaskFailed : public std::runtime_error {
 public:
  TaskFailed(std::string type, std::string message, std::string module, std::string traceback);
  const std::string& type() const noexcept { return type_; }  ///< "ValueError"
  const std::string& message() const noexcept { return message_; }
  const std::string& module() const noexcept { return module_; }  ///< "builtins", may be empty
  const std::string& traceback() const noexcept { return traceback_; }

 private:
  std::string type_, message_, module_, traceback_;
};

/// The task was revoked, expired or terminated; it will not run.
class TaskRevoked : public TaskFailed {
 public:
  using TaskFailed::TaskFailed;
};

/// The deadline of get() passed; the task may still run. An Error of kind unavailable.
class ResultTimeout : public Error {
 public:
  ResultTimeout(const TaskId& id, std::string last_state);
  const std::string& last_state() const noexcept { return last_state_; }  ///< "PENDING", "STARTED", ...

 private:
  std::string last_state_;
};

/// Where tasks go whose call and definition name no queue. An exact name wins over patterns, then the first that
/// matches.
struct TaskRoute {
  std::string pattern{};  ///< the task's name, with * ? and [...] as in file names: "media.*"
  std::string queue{};    ///< %h is this host's name; "": only the priority is set
  std::optional<int> priority{};
};

/// The defaults serve a program that is alone with its SQLite file.
struct ClientOptions {
  std::string broker_url = "sqlite:///errand.db";
  std::string result_backend_url{};  ///< "": the broker's own store; "disabled": none
  TransportOptions transport{};
  std::string default_queue = "celery";  ///< %h is this host's name
  std::vector<TaskRoute> routes{};
  std::optional<bool> typed_json{};       ///< unset: on unless Python may read the queue
  bool strict_names = false;              ///< refuse names that are not in the catalogue
  SchemaMap catalogue{};                  ///< calls by these names are checked before sending; see schemas()
  std::string compression{};              ///< for calls that name none
  std::optional<Milliseconds> expires{};  ///< for calls and tasks that name none
  std::optional<int> priority{};          ///< for calls, tasks and routes that name none
  bool persistent = true;                 ///< false: brokers may keep messages in memory only
  Milliseconds publish_timeout{5'000};    ///< within it a send succeeds or fails, typed
};

/// Where a client's connections come from, for tests and embedding. `results` may be empty: no result backend. Both
/// are called again after a connection broke and in forked children.
struct ClientConnections {
  std::function<std::unique_ptr<Broker>()> broker;
  std::function<std::unique_ptr<ResultBackend>()> results;
  std::shared_ptr<const Clock> clock;       ///< unset: the machine's
  std::function<void(Milliseconds)> pause;  ///< how to wait between attempts; unset: sleeping
};

namespace client {
class Core;
}

/// Handle of one sent task. A value; copies share the client's connections and keep them open.
class AsyncResult {
 public:
  const TaskId& id() const noexcept { return id_; }
  std::string state() const;  ///< "PENDING" when nothing is stored
  bool ready() const;         ///< succeeded, failed or revoked
  bool successful() const;
  /// What is stored; nullopt: nothing yet. Throws Error{unsupported} without a result backend.
  std::optional<TaskResult> record() const;

  /// Waits; true once the task is ready, false at the deadline.
  bool wait(Deadline deadline) const;
  /// Waits for the result. Throws TaskFailed, TaskRevoked; ResultTimeout at the deadline; Error{invalid} when the task
  /// was sent with ignore_result. A store that is away for a short while is asked again.
  Value get(Deadline deadline = Deadline::never()) const;
  Value get(std::chrono::nanoseconds timeout) const { return get(Deadline::after(timeout)); }
  template <class T>
  T get(Deadline deadline = Deadline::never()) const {
    return decode<T>(get(deadline));
  }
  template <class T>
  T get(std::chrono::nanoseconds timeout) const {
    return decode<T>(get(Deadline::after(timeout)));
  }

  /// What the task last reported with progress() or update_state(); null before that and once it is ready.
  Value progress() const;
  /// Tasks sent by it, or following it, as far as its record tells.
  std::vector<AsyncResult> children() const;
  /// The step before this one, when it was sent as the end of a chain.
  std::optional<AsyncResult> parent() const;
  /// Deletes what is stored.
  void forget() const;
  /// See Client::revoke.
  void revoke(bool terminate = false) const;

 protected:
  template <class T>
  T decode(const Value& value) const {
    try {
      return Codec<T>::decode(value, "result");
    } catch (const Error& error) {
      wrong_result(error);
    }
  }

 private:
  friend class Client;
  friend class GroupResult;
  AsyncResult(std::shared_ptr<client::Core> core, TaskId id, bool stores_result, std::vector<TaskId> before)
      : core_(std::move(core)), id_(std::move(id)), stores_result_(stores_result), before_(std::move(before)) {}
  [[noreturn]] void wrong_result(const Error& error) const;

  std::shared_ptr<client::Core> core_;
  TaskId id_;
  bool stores_result_ = true;
  std::vector<TaskId> before_;  // the chain's earlier steps, in order
};

/// The handle of a typed call: get() returns what the task's signature says.
template <class R>
class TypedResult : public AsyncResult {
 public:
  explicit TypedResult(AsyncResult result) : AsyncResult(std::move(result)) {}

  using AsyncResult::get;  // get<T>() reads it as another type
  R get(Deadline deadline = Deadline::never()) const {
    const Value value = AsyncResult::get(deadline);
    if constexpr (!std::is_void_v<R>) return this->template decode<R>(value);
  }
  R get(std::chrono::nanoseconds timeout) const { return get(Deadline::after(timeout)); }
};

/// Handle of tasks that were sent together. A value.
class GroupResult {
 public:
  const std::string& id() const noexcept { return id_; }
  const std::vector<AsyncResult>& results() const noexcept { return members_; }
  std::size_t completed() const;  ///< how many succeeded
  bool ready() const;             ///< all succeeded, failed or were revoked
  /// Results in the order of the calls. Throws what the first failed member's get() throws.
  std::vector<Value> get(Deadline deadline = Deadline::never()) const;
  /// Stores the member ids under the group's id, so that Client::group finds them; Celery's GroupResult.save.
  void save() const;

 private:
  friend class Client;
  GroupResult(std::shared_ptr<client::Core> core, std::string id, std::vector<AsyncResult> members)
      : core_(std::move(core)), id_(std::move(id)), members_(std::move(members)) {}
  std::shared_ptr<client::Core> core_;
  std::string id_;
  std::vector<AsyncResult> members_;
};

/// Safe to use from several threads, and after fork: the child opens its own connections and never touches the
/// parent's. Connects on first use.
class Client {
 public:
  /// Throws Error{invalid} for options that cannot work.
  explicit Client(const ClientOptions& options = {});
  Client(ClientOptions options, ClientConnections connections);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Returns when the broker has taken responsibility. Throws Error: {invalid} for a call that does not fit its
  /// signature, has no JSON form or is too large; {not_found} when no queue is bound; {unavailable} within
  /// publish_timeout, at once while the broker has been away for several attempts; {in_doubt} when the answer was
  /// lost twice: the message may or may not be there, sending again with the same id is harmless. Nothing is sent
  /// for {invalid} and {unavailable}.
  AsyncResult send(Signature call);
  template <class R>
  TypedResult<R> send(Call<R> call) {
    return TypedResult<R>(send(Signature(std::move(call))));
  }
  /// All of them in one round trip; all are checked before any is sent.
  std::vector<AsyncResult> send_many(std::vector<Signature> calls);
  /// The same as one group: members know its id and their index.
  GroupResult send_group(std::vector<Signature> members);

  /// Handle of a task that was sent elsewhere or earlier.
  AsyncResult result(TaskId id) const;
  /// A group that was saved; nullopt: unknown.
  std::optional<GroupResult> group(const std::string& id) const;

  /// Keeps tasks from starting; with terminate, also stops them where they run. The broker remembers the ids where it
  /// can (BrokerTraits::keeps_revokes), for workers that start later; those that listen now are told. Throws
  /// Error{unsupported} when the broker can do neither, or cannot reach the workers that are to stop a task.
  void revoke(std::span<const TaskId> ids, bool terminate = false, std::string_view signal = "SIGTERM");
  void revoke(const TaskId& id, bool terminate = false, std::string_view signal = "SIGTERM") {
    revoke(std::span<const TaskId>(&id, 1), terminate, signal);
  }

  const ClientOptions& options() const noexcept;

 private:
  std::shared_ptr<client::Core> core_;
};

}  // namespace errand
