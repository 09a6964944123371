#include "worker/controller.hpp"

#include "core/backoff.hpp"

#include <errand/catalogue.hpp>
#include <errand/error.hpp>

#include <fnmatch.h>
#include <algorithm>

namespace errand::worker {

namespace {

constexpr std::size_t kCommandsAtOnce = 16;
constexpr std::size_t kMaxCommandBytes = 1u << 20;
// Whoever may publish may command, and be wrong, or hostile, at any speed. A worker takes this many, in bursts of this
// many, and forgets the others.
constexpr double kCommandsPerSecond = 100;
constexpr double kCommandsInABurst = 200;
// Where answers may go: nobody shall make a worker write into a queue of tasks.
constexpr std::string_view kReplyExchange = "reply.celery.pidbox";

bool is_for_answers(const Route& route) {
  if (route.exchange == kReplyExchange) return true;
  return route.exchange.empty() && route.routing_key.ends_with("." + std::string(kReplyExchange));
}

std::string text_or(const Value* value, std::string_view fallback) {
  const std::string* text = value == nullptr ? nullptr : value->if_text();
  return text == nullptr ? std::string(fallback) : *text;
}

Object ok(std::string text) { return Object{{"ok", Value(std::move(text))}}; }
Object error(std::string text) { return Object{{"error", Value(std::move(text))}}; }

// One id or a list of them, as Celery accepts.
std::vector<TaskId> ids_of(const Object& arguments) {
  std::vector<TaskId> ids;
  const Value* given = arguments.find("task_id");
  if (given == nullptr) return ids;
  if (const std::string* one = given->if_text()) ids.push_back(*one);
  if (const Array* several = given->if_array()) {
    for (const Value& item : *several) {
      if (const std::string* one = item.if_text()) ids.push_back(*one);
    }
  }
  return ids;
}

std::optional<Milliseconds> seconds_of(const Value* value) {
  if (value == nullptr || !(value->is_integer() || value->is_number())) return std::nullopt;
  const double seconds = value->as_number();
  constexpr double kMost = 100.0 * 365 * 86'400;
  if (!(seconds > 0)) return std::nullopt;
  return std::chrono::ceil<Milliseconds>(std::chrono::duration<double>(std::min(seconds, kMost)));
}

ControlAnswer revoke(const ControlCommand& command, bool always_terminate) {
  RevokeTasks change;
  change.ids = ids_of(command.arguments);
  if (change.ids.empty()) {
    return {.reply = error("TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")")};
  }
  const Value* terminate = command.arguments.find("terminate");
  change.terminate =
      always_terminate || (terminate != nullptr && terminate->if_bool() != nullptr && *terminate->if_bool());
  const std::string signal = text_or(command.arguments.find("signal"), "SIGTERM");
  change.kill = signal == "SIGKILL" || signal == "KILL";
  std::string names;
  for (const TaskId& id : change.ids) names += (names.empty() ? "'" : ", '") + id + "'";
  return {.change = std::move(change), .reply = ok("tasks {" + names + "} flagged as revoked")};
}

ControlAnswer rate_limit(const ControlCommand& command, const Registry& registry) {
  const std::string task = text_or(command.arguments.find("task_name"), "");
  if (registry.find(task) == nullptr) return {.reply = error("unknown task")};
  const Value* given = command.arguments.find("rate_limit");
  std::string text;
  if (given != nullptr && given->if_text() != nullptr) text = *given->if_text();
  if (given != nullptr && (given->is_integer() || given->is_number())) text = to_json(*given);
  try {
    const RateLimit limit = RateLimit::parse(text);
    return {.change = SetRateLimit{task, limit},
            .reply = ok(limit.tasks > 0 ? "new rate limit set successfully" : "rate limit disabled successfully")};
  } catch (const Error& wrong) {
    return {.reply = error(wrong.what())};
  }
}

ControlAnswer time_limit(const ControlCommand& command, const Registry& registry) {
  const std::string task = text_or(command.arguments.find("task_name"), "");
  if (registry.find(task) == nullptr) return {.reply = error("unknown task")};
  return {.change = SetTimeLimits{task, seconds_of(command.arguments.find("soft")),
                                  seconds_of(command.arguments.find("hard"))},
          .reply = ok("time limits set successfully")};
}

}  // namespace

CommandGate::CommandGate() : left_(kCommandsInABurst) {}

bool CommandGate::take(SteadyPoint now) {
  const double since = std::chrono::duration<double>(now - last_).count();
  left_ = std::min(kCommandsInABurst, left_ + std::max(0.0, since) * kCommandsPerSecond);
  last_ = now;
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

std::optional<ControlCommand> decode_command(const Message& message, std::string_view node_name) {
  Value body;
  try {
    body = parse_json(message.body, JsonLimits{.bytes = kMaxCommandBytes});
  } catch (const Error&) {
    return std::nullopt;
  }
  const Value* method = body.find("method");
  if (method == nullptr || method->if_text() == nullptr) return std::nullopt;
  if (const Value* destination = body.find("destination");
      destination != nullptr && destination->if_array() != nullptr) {
    const Array& nodes = *destination->if_array();
    const bool named = std::any_of(nodes.begin(), nodes.end(), [&](const Value& node) {
      return node.if_text() != nullptr && *node.if_text() == node_name;
    });
    if (!named) return std::nullopt;
  } else if (const std::string pattern = text_or(body.find("pattern"), ""); !pattern.empty()) {
    // Only globs: a regular expression from the network may take exponential time.
    if (text_or(body.find("matcher"), "glob") != "glob") return std::nullopt;
    if (fnmatch(pattern.c_str(), std::string(node_name).c_str(), 0) != 0) return std::nullopt;
  }
  ControlCommand command;
  command.method = *method->if_text();
  if (const Value* arguments = body.find("arguments"); arguments != nullptr && arguments->if_object() != nullptr) {
    command.arguments = *arguments->if_object();
  }
  command.ticket = text_or(body.find("ticket"), "");
  if (const Value* reply = body.find("reply_to"); reply != nullptr && reply->if_object() != nullptr) {
    const Route route{text_or(reply->find("exchange"), ""), text_or(reply->find("routing_key"), "")};
    if (is_for_answers(route)) command.reply_to = route;
  }
  return command;
}

ControlAnswer answer_command(const ControlCommand& command, const Registry& registry) {
  if (command.method == "ping") return {.reply = ok("pong")};
  if (command.method == "revoke") return revoke(command, false);
  if (command.method == "terminate") return revoke(command, true);
  if (command.method == "rate_limit") return rate_limit(command, registry);
  if (command.method == "time_limit") return time_limit(command, registry);
  if (command.method == "catalogue") return {.reply = Object{{"ok", catalogue(registry)}}};
  if (command.method == "shutdown") return {.stop = StopKind::warm};
  return {.reply = error("KeyError('" + command.method + "')")};
}

Controller::Controller(std::string broker_url, TransportOptions transport, std::string node_name,
                       const Registry& registry, Events events)
    : broker_url_(std::move(broker_url)),
      transport_(std::move(transport)),
      node_name_(std::move(node_name)),
      registry_(registry),
      events_(std::move(events)) {
  thread_ = std::thread([this] { listen(); });
}

Controller::~Controller() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    if (consumer_ != nullptr) consumer_->wake();
  }
  changed_.notify_all();
  thread_.join();
}

void Controller::listen() {
  core::Backoff backoff(core::kReconnect);
  std::unique_ptr<Broker> broker;  // one for ever: it remembers which signed commands were obeyed
  while (!stop_) {
    std::unique_ptr<Consumer> consumer;
    try {
      if (!broker) broker = open_broker(broker_url_, transport_);
      if (!broker->traits().fanout) return;
      consumer = broker->subscribe(Route{"celery.pidbox", ""});
      {
        const std::lock_guard lock(mutex_);
        consumer_ = consumer.get();
      }
      while (!stop_) {
        const auto deliveries = consumer->next(kCommandsAtOnce, Deadline::after(std::chrono::minutes(1)));
        backoff.reset();
        for (const Delivery& delivery : deliveries) {
          if (gate_.take(std::chrono::steady_clock::now())) {
            serve(*broker, delivery);
          } else {
            events_.log("control.flood", "commands come faster than they are taken; the rest is ignored");
          }
        }
      }
    } catch (const Error& failure) {
      events_.log("control.unavailable", failure.what());
    }
    std::unique_lock lock(mutex_);
    consumer_ = nullptr;
    changed_.wait_for(lock, backoff.next(), [this] { return stop_.load(); });
  }
}

// A revocation that came by broadcast reaches the workers that listen now. Written down, it reaches those that come
// later as well, this one after a restart included, whoever sent it.
void Controller::keep(Broker& broker, const Control& change) {
  const auto* revoke = std::get_if<RevokeTasks>(&change);
  if (revoke == nullptr || !broker.traits().keeps_revokes) return;
  try {
    broker.revoke(revoke->ids);
  } catch (const Error& away) {
    events_.log("control.revoke", away.what());
  }
}

void Controller::serve(Broker& broker, const Delivery& delivery) {
  if (!delivery.defect.empty()) {
    events_.log("control.undecodable", delivery.defect);
    return;
  }
  const auto command = decode_command(delivery.message, node_name_);
  if (!command) return;
  ControlAnswer answer = answer_command(*command, registry_);
  events_.log("control.command", command->method);
  if (answer.change) keep(broker, *answer.change);
  if (answer.change) events_.change(std::move(*answer.change));
  if (answer.stop) events_.stop(*answer.stop);
  if (!answer.reply || !command->reply_to) return;
  Envelope reply;
  reply.route = *command->reply_to;
  reply.message.headers.set("ticket", Value(command->ticket));
  Object body;
  body.set(node_name_, Value(std::move(*answer.reply)));
  reply.message.body = to_json(Value(std::move(body)));
  try {
    broker.publish({&reply, 1});
  } catch (const Error& gone) {
    // Whoever asked has stopped listening; Celery's workers log that and go on, too.
    events_.log("control.reply", gone.what());
  }
}

}  // namespace errand::worker
