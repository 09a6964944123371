#include "client/core.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace errand::client {

namespace {

constexpr Milliseconds kFirstPause{50};
constexpr Milliseconds kLongestPause{1'000};
constexpr std::string_view kControlExchange = "celery.pidbox";  // celery-wire section 8.1

ClientConnections completed(ClientConnections connections) {
  if (!connections.broker) {
    throw Error(
        {.kind = ErrorKind::invalid, .operation = "client", .detail = "expected a way to open a broker, got none"});
  }
  if (!connections.clock) connections.clock = std::make_shared<SystemClock>();
  if (!connections.pause) connections.pause = [](Milliseconds pause) { std::this_thread::sleep_for(pause); };
  return connections;
}

}  // namespace

Core::Process::Process(const ClientOptions& options, const ClientConnections& connections, Process* from)
    : pid(::getpid()), inherited(from), publisher(options, connections), backends(connections) {}

Core::Core(ClientOptions options, ClientConnections connections)
    : options_(std::move(options)),
      connections_(completed(std::move(connections))),
      process_(new Process(options_, connections_, nullptr)) {}

Core::~Core() {
  Process* const last = process_.load();
  if (last->pid == ::getpid()) delete last;
}

Core::Process& Core::here() {
  Process* known = process_.load(std::memory_order_acquire);
  const int pid = ::getpid();
  while (known->pid != pid) {
    auto fresh = std::make_unique<Process>(options_, connections_, known);
    if (process_.compare_exchange_strong(known, fresh.get(), std::memory_order_acq_rel)) return *fresh.release();
  }
  return *known;
}

std::optional<TaskResult> Core::read(Deadline deadline, TaskIdView task,
                                     const std::function<std::optional<TaskResult>(ResultBackend&)>& use) {
  const SteadyPoint patience = clock().steady() + kPatience;
  Milliseconds pause = kFirstPause;
  for (;;) {
    try {
      return with_backend(deadline, task, use);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unavailable && error.kind() != ErrorKind::in_doubt) throw;
      const auto left = deadline.remaining();
      if (clock().steady() + pause >= patience || (left && *left <= pause)) throw;
    }
    connections_.pause(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

std::optional<TaskResult> Core::await(TaskIdView task, Deadline deadline) {
  return read(deadline, task, [&](ResultBackend& backend) { return backend.wait(task, deadline); });
}

void Core::revoke(std::span<const TaskId> ids, bool terminate, std::string_view signal) {
  if (ids.empty()) return;
  const BrokerTraits traits = publisher().traits();
  // Written down first: whoever misses the broadcast, because it starts later or is cut off, finds it there.
  if (traits.keeps_revokes) publisher().revoke(ids);
  if (!traits.fanout && traits.keeps_revokes && !terminate) return;
  if (!traits.fanout) {
    throw Error({.kind = ErrorKind::unsupported,
                 .operation = "revoke",
                 .subject = ids.front(),
                 .detail = "expected a broker that reaches running workers, this one has no broadcast"});
  }
  Array named;
  for (const TaskId& id : ids) named.emplace_back(id);
  const Value task_id = ids.size() == 1 ? named.front() : Value(std::move(named));
  Envelope command;
  command.route = {std::string(kControlExchange), ""};
  command.message.headers.set("clock", 1);
  command.message.properties.set("delivery_mode", 2);
  command.message.body = to_json(Value::object(
      {{"method", "revoke"},
       {"arguments", Value::object({{"task_id", task_id}, {"terminate", terminate}, {"signal", std::string(signal)}})},
       {"destination", nullptr},
       {"pattern", nullptr},
       {"matcher", nullptr}}));
  publisher().broadcast(command);
}

}  // namespace errand::client
