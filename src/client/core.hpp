#pragma once
// Core: what a client and the results it gave out share. Knows which process it is in.

#include "client/backends.hpp"
#include "client/publisher.hpp"

#include <errand/client.hpp>

#include <atomic>
#include <functional>
#include <memory>

namespace errand::client {

class Core {
 public:
  Core(ClientOptions options, ClientConnections connections);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  const ClientOptions& options() const noexcept { return options_; }
  const Clock& clock() const noexcept { return *connections_.clock; }
  Publisher& publisher() { return here().publisher; }

  /// Runs `use` with a lent connection to the result store. Throws what it throws.
  template <class F>
  auto with_backend(Deadline deadline, TaskIdView task, F&& use) {
    Backends::Lease lease = here().backends.lend(deadline, task);
    try {
      return use(*lease.operator->());
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::in_doubt) lease.drop();
      throw;
    }
  }
  /// The same for reading: a store that is away is asked again until the deadline, at most kPatience on end.
  std::optional<TaskResult> read(Deadline deadline, TaskIdView task,
                                 const std::function<std::optional<TaskResult>(ResultBackend&)>& use);
  /// The record once the task is ready; nullopt at the deadline.
  std::optional<TaskResult> await(TaskIdView task, Deadline deadline);
  /// See Client::revoke.
  void revoke(std::span<const TaskId> ids, bool terminate, std::string_view signal);

  static constexpr Milliseconds kPatience{30'000};
  static constexpr Milliseconds kLookup{5'000};  ///< for a connection when the caller gave no deadline

 private:
  // Everything with a connection or a lock. After a fork the child makes its own and leaves the parent's as it is:
  // a lock may be held by a thread that does not exist here, and closing a connection properly would write to a
  // socket that the parent still uses (fault F011).
  struct Process {
    Process(const ClientOptions& options, const ClientConnections& connections, Process* from);
    const int pid;
    Process* const inherited;  // never deleted, kept so that it stays reachable
    Publisher publisher;
    Backends backends;
  };
  Process& here();

  const ClientOptions options_;
  const ClientConnections connections_;
  std::atomic<Process*> process_;
};

/// Connections by the URLs of the options.
ClientConnections connections_by_url(const ClientOptions& options);

}  // namespace errand::client
