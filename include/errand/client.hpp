#pragma once
// Client: sends tasks and reads what came of them.
//
//   errand::Client client({.broker_url = "redis://localhost/0"});
//   auto result = client.send(thumbnail("cat.png", 200).on("media"));
//   int bytes = result.get<int>(10s);

#include <errand/codec.hpp>
#include <errand/drivers.hpp>
#include <errand/signature.hpp>
#include <errand/task.hpp>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace errand {

/// Thrown by AsyncResult::get(): the task failed. The fields are what the worker stored, as data; a Python class name
/// is only a name here.
class TaskFailed : public std::runtime_error {
 public:
  TaskFailed(std::string type, std::string message, std::string module, std::string traceback);
  const std::string& type() const noexcept { return type_; }        ///< "ValueError"
  const std::string& message() const noexcept { return message_; }
  const std::string& module() const noexcept { return module_; }    ///< "builtins", may be empty
  const std::string& traceback() const noexcept { return traceback_; }

 private:
  std::string type_, message_, module_, traceback_;
};

/// The task was revoked, expired or terminated; it will not run.
class TaskRevoked : public TaskFailed {
 public:
  using TaskFailed::TaskFailed;
};

/// Where tasks go whose call names no queue. The first pattern that matches wins.
struct TaskRoute {
  std::string pattern;   ///< the task's name, with * for any text ("media.*")
  std::string queue;
  std::optional<int> priority;
};

struct ClientOptions {
  std::string broker_url = "sqlite:///errand.db";
  std::string result_backend_url;               ///< "": the broker's own store; "disabled": none
  TransportOptions transport;
  std::string default_queue = "celery";
  std::vector<TaskRoute> routes;
  std::optional<bool> typed_json;               ///< unset: on unless Python may read the queue
  bool strict_names = false;                    ///< refuse names that are in no catalogue and no registry
  std::map<std::string, TaskSchema, std::less<>> catalogue;  ///< calls by these names are checked before sending
  std::map<std::string, std::string, std::less<>> task_queues;  ///< the tasks' own queues, by name
  std::vector<std::string> queue_required;      ///< tasks that must be sent with a queue (a queue per host)
  std::string compression;                      ///< for calls that name none
  Milliseconds publish_timeout{5'000};          ///< within it a send succeeds or fails, typed
};

class Client;
namespace client {
class Connections;
}

/// Handle of one sent task. A value; copies share the client's connections and must not outlive the client.
class AsyncResult {
 public:
  AsyncResult(TaskId id, Client& client, bool stores_result = true)
      : id_(std::move(id)), client_(&client), stores_result_(stores_result) {}

  const TaskId& id() const noexcept { return id_; }
  std::string state() const;        ///< "PENDING" when nothing is stored
  bool ready() const;
  std::optional<TaskResult> record() const;

  /// Waits for the result. Throws TaskFailed, TaskRevoked; Error{unavailable} at the deadline; Error{invalid} when the
  /// task was sent with ignore_result.
  Value get(Deadline deadline = Deadline::never()) const;
  Value get(std::chrono::nanoseconds timeout) const { return get(Deadline::after(timeout)); }
  template <class T>
  T get(Deadline deadline = Deadline::never()) const {
    return Codec<T>::decode(get(deadline), "result");
  }
  template <class T>
  T get(std::chrono::nanoseconds timeout) const {
    return get<T>(Deadline::after(timeout));
  }
  /// What the task last reported with update_state(), null before.
  Value progress() const;
  /// Tasks sent by it, or following it, as far as its record tells.
  std::vector<AsyncResult> children() const;
  void forget() const;

 private:
  TaskId id_;
  Client* client_;
  bool stores_result_;
};

/// Safe to use from several threads, and after fork: the child opens its own connections and never touches the
/// parent's. Connects on first use.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  /// With connections made elsewhere, for tests and embedding. `results` may be null.
  Client(ClientOptions options, std::unique_ptr<Broker> broker, std::unique_ptr<ResultBackend> results);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Returns when the broker has taken responsibility. Throws Error: {invalid} for a call that does not fit its
  /// signature or is too large, {not_found} when no queue is bound, {unavailable} within publish_timeout, {in_doubt}
  /// when the answer was lost twice. Nothing is sent for {invalid}.
  AsyncResult send(Signature call);
  /// All of them in one round trip; all are checked before any is sent.
  std::vector<AsyncResult> send_many(std::vector<Signature> calls);

  AsyncResult result(TaskId id) { return AsyncResult(std::move(id), *this); }
  /// Keeps a task from starting; with terminate, also stops it where it runs. Reaches the workers that listen now.
  void revoke(std::span<const TaskId> ids, bool terminate = false, std::string_view signal = "SIGTERM");

  const ClientOptions& options() const noexcept;

 private:
  friend class AsyncResult;
  client::Connections& connections() const noexcept;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace errand
