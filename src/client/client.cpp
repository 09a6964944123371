// Client: check, route, encode, publish. No stage calls an earlier one.
#include <errand/client.hpp>

#include "client/connections.hpp"
#include "core/text.hpp"
#include "core/uuid.hpp"
#include "protocol/signature_json.hpp"
#include "protocol/task_message.hpp"

#include <algorithm>
#include <fnmatch.h>
#include <thread>

namespace errand {

namespace {
constexpr Milliseconds kFirstRetry{20};
constexpr Milliseconds kLastRetry{1'000};
constexpr std::size_t kLongestQueueName = 255;

void check_queue_name(const std::string& queue) {
  const bool controls = std::any_of(queue.begin(), queue.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (!queue.empty() && queue.size() <= kLongestQueueName && !controls) return;
  throw Error({.kind = ErrorKind::invalid, .operation = "send", .subject = core::shorten(core::escape_controls(queue), 80),
               .detail = "queue: expected a name of 1 to 255 bytes without control characters, got " +
                         std::string(controls ? "one with control characters" : queue.empty() ? "none" : "a longer one")});
}
}  // namespace

struct Client::Impl {
  Impl(ClientOptions o, std::unique_ptr<Broker> broker, std::unique_ptr<ResultBackend> results)
      : options(std::move(o)), connections(options, std::move(broker), std::move(results)) {}

  void check(const Signature& call) const;
  Envelope prepare(Signature& call, TimePoint now, const BrokerTraits& traits) const;
  void publish(std::span<const Envelope> envelopes);

  ClientOptions options;
  client::Connections connections;
};

Client::Client(ClientOptions options) : impl_(new Impl(std::move(options), nullptr, nullptr)) {}
Client::Client(ClientOptions options, std::unique_ptr<Broker> broker, std::unique_ptr<ResultBackend> results)
    : impl_(new Impl(std::move(options), std::move(broker), std::move(results))) {}
Client::~Client() = default;

const ClientOptions& Client::options() const noexcept { return impl_->options; }
client::Connections& Client::connections() const noexcept { return impl_->connections; }

void Client::Impl::check(const Signature& call) const {
  if (call.task.empty()) {
    throw Error({.kind = ErrorKind::invalid, .operation = "send", .detail = "expected a task name, got none"});
  }
  const auto known = options.catalogue.find(call.task);
  if (known != options.catalogue.end()) {
    check_call(call.task, known->second, call.args, call.kwargs);
  } else if (options.strict_names) {
    std::vector<std::string_view> names;
    for (const auto& [name, schema] : options.catalogue) names.push_back(name);
    const std::string_view nearest = core::nearest_word(call.task, names);
    throw Error({.kind = ErrorKind::invalid, .operation = "send", .subject = call.task,
                 .detail = "expected a task of the catalogue (strict names)" + (nearest.empty() ? std::string() : "; did you mean '" + std::string(nearest) + "'?")});
  }
  const CallOptions& o = call.options;
  if (o.priority && (*o.priority < 0 || *o.priority > 9)) {
    throw Error({.kind = ErrorKind::invalid, .operation = "send", .subject = call.task,
                 .detail = "priority: expected 0 to 9, got " + std::to_string(*o.priority)});
  }
  if (o.time_limit && o.soft_time_limit && *o.soft_time_limit > *o.time_limit) {
    throw Error({.kind = ErrorKind::invalid, .operation = "send", .subject = call.task,
                 .detail = "soft_time_limit: expected at most the hard time_limit, got more"});
  }
  const bool must_name = std::find(options.queue_required.begin(), options.queue_required.end(), call.task) != options.queue_required.end();
  if (must_name && o.queue.empty() && o.routing_key.empty()) {
    throw Error({.kind = ErrorKind::invalid, .operation = "send", .subject = call.task,
                 .detail = "expected a queue in the call, got none; this task has no queue of its own"});
  }
}

// Route and encode. A call's own queue wins, then the task's, then routes, then the default.
Envelope Client::Impl::prepare(Signature& call, TimePoint now, const BrokerTraits& traits) const {
  CallOptions& o = call.options;
  Envelope envelope;
  if (!o.exchange.empty()) {
    envelope.route = {o.exchange, o.routing_key};
  } else {
    std::string queue = !o.queue.empty() ? o.queue : o.routing_key;
    if (queue.empty()) {
      if (const auto own = options.task_queues.find(call.task); own != options.task_queues.end()) queue = own->second;
    }
    for (const TaskRoute& route : options.routes) {
      if (fnmatch(route.pattern.c_str(), call.task.c_str(), 0) != 0) continue;
      if (queue.empty()) queue = route.queue;
      if (!o.priority) o.priority = route.priority;
      break;
    }
    if (queue.empty()) queue = options.default_queue;
    check_queue_name(queue);
    envelope.route = {"", queue};
  }
  if (o.countdown && !o.eta) o.eta = now + *o.countdown;
  protocol::freeze(call);
  protocol::SenderInfo sender;
  sender.now = now;
  sender.origin = protocol::sender_origin();
  sender.typed_json = options.typed_json.value_or(!traits.foreign_readers);
  sender.default_compression = options.compression;
  envelope.message = protocol::encode_task(call, sender);
  envelope.priority = o.priority.value_or(0);
  // Parked only where nobody but Errand reads: a Python worker would never find a parked message.
  if (o.eta && *o.eta > now && traits.parks && !traits.foreign_readers) envelope.not_before = o.eta;
  return envelope;
}

void Client::Impl::publish(std::span<const Envelope> envelopes) {
  connections.with_broker([&](Broker& broker, client::Breaker& breaker) {
    const Deadline deadline = Deadline::after(options.publish_timeout);
    Milliseconds wait = kFirstRetry;
    bool doubted = false;
    if (!breaker.allows(std::chrono::steady_clock::now())) {
      throw Error({.kind = ErrorKind::unavailable, .operation = "send", .subject = redact_url(options.broker_url),
                   .detail = "the broker was away five times in a row; it is asked again every 5s"});
    }
    for (;;) {
      try {
        broker.publish(envelopes);
        breaker.succeeded();
        return;
      } catch (const Error& error) {
        const SteadyPoint now = std::chrono::steady_clock::now();
        if (error.kind() == ErrorKind::in_doubt && !doubted) {
          // Sent perhaps, perhaps not. The ids are ours, so sending again makes at worst a duplicate that workers
          // recognise; not sending again could lose it.
          doubted = true;
          continue;
        }
        if (!error.retryable()) throw;
        const bool over = deadline.earlier(Deadline::at(now + wait)).point() == deadline.point();
        if (over) {
          breaker.failed(now);
          throw;
        }
        std::this_thread::sleep_for(wait);
        wait = std::min<Milliseconds>(wait * 2, kLastRetry);
      }
    }
  });
}

AsyncResult Client::send(Signature call) {
  std::vector<Signature> one;
  one.push_back(std::move(call));
  return std::move(send_many(std::move(one)).front());
}

std::vector<AsyncResult> Client::send_many(std::vector<Signature> calls) {
  for (const Signature& call : calls) {
    impl_->check(call);
    for (const Signature& step : call.chain) impl_->check(step);
  }
  const BrokerTraits traits = impl_->connections.with_broker([](Broker& broker, client::Breaker&) { return broker.traits(); });
  const TimePoint now = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
  std::vector<Envelope> envelopes;
  std::vector<AsyncResult> results;
  envelopes.reserve(calls.size());
  results.reserve(calls.size());
  for (Signature& call : calls) {
    envelopes.push_back(impl_->prepare(call, now, traits));
    const Signature& last = call.chain.empty() ? call : call.chain.back();
    results.emplace_back(last.options.task_id, *this, !last.options.ignore_result.value_or(false));
  }
  if (!envelopes.empty()) impl_->publish(envelopes);
  return results;
}

void Client::revoke(std::span<const TaskId> ids, bool terminate, std::string_view signal) {
  Array named;
  for (const TaskId& id : ids) named.emplace_back(id);
  Envelope command;
  command.route = {"celery.pidbox", ""};
  command.message.body = to_json(Value::object(
      {{"method", "revoke"},
       {"arguments", Value::object({{"task_id", Value(std::move(named))}, {"terminate", terminate}, {"signal", std::string(signal)}})},
       {"destination", nullptr},
       {"pattern", nullptr},
       {"matcher", nullptr}}));
  impl_->connections.with_broker([&](Broker& broker, client::Breaker&) { broker.broadcast(command); });
}

}  // namespace errand
