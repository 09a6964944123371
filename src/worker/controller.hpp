#pragma once
// Remote control: commands broadcast to workers in Celery's pidbox format (kombu/pidbox.py, celery-wire section 8),
// on a thread and a connection of its own, so that a busy worker still answers.

#include "worker/inputs.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace errand::worker {

/// One decoded command.
struct ControlCommand {
  std::string method;
  Object arguments;
  std::string ticket;
  std::optional<Route> reply_to;
};

/// Decodes a broadcast. nullopt: not for this node (destination, or a glob pattern that does not match), or no
/// command at all; such messages are ignored and counted by the caller.
std::optional<ControlCommand> decode_command(const Message& message, std::string_view node_name);

/// What a command does and answers. `{"ok": ...}` or `{"error": ...}`, as Celery's workers answer.
struct ControlAnswer {
  std::optional<Control> change;  ///< for the engine
  std::optional<StopKind> stop;
  std::optional<Object> reply;  ///< nullopt: none
};
ControlAnswer answer_command(const ControlCommand& command, const Registry& registry);

/// Lets a bounded rate of commands through. Pure.
class CommandGate {
 public:
  CommandGate();
  bool take(SteadyPoint now);

 private:
  double left_;
  SteadyPoint last_{};
};

class Controller {
 public:
  struct Events {
    std::function<void(Control)> change;
    std::function<void(StopKind)> stop;
    std::function<void(std::string_view event, std::string_view detail)> log;
  };
  /// Starts listening. A broker that goes away is reconnected with growing waits, for ever; until then commands are
  /// lost, as broadcasts are.
  Controller(std::string broker_url, TransportOptions transport, std::string node_name, const Registry& registry,
             Events events);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

 private:
  void listen();
  void serve(Broker& broker, const Delivery& delivery);
  void keep(Broker& broker, const Control& change);

  std::string broker_url_;
  TransportOptions transport_;
  std::string node_name_;
  const Registry& registry_;
  Events events_;
  CommandGate gate_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards consumer_ against the destructor's wake
  Consumer* consumer_ = nullptr;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace errand::worker
