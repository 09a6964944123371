#include "client/routes.hpp"

#include "core/text.hpp"

#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>

namespace errand::client {

namespace {

constexpr std::size_t kLongestQueueName = 255;  // AMQP's limit; the others allow more

const TaskRoute* find_route(const ClientOptions& options, const std::string& task) {
  const auto exact = std::find_if(options.routes.begin(), options.routes.end(),
                                  [&](const TaskRoute& route) { return route.pattern == task; });
  if (exact != options.routes.end()) return &*exact;
  const auto match = std::find_if(options.routes.begin(), options.routes.end(), [&](const TaskRoute& route) {
    return fnmatch(route.pattern.c_str(), task.c_str(), 0) == 0;
  });
  return match == options.routes.end() ? nullptr : &*match;
}

// %h in queue names of the configuration; calls name queues as they are.
std::string with_host(std::string queue) {
  const std::size_t at = queue.find("%h");
  if (at == std::string::npos) return queue;
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') return queue.replace(at, 2, "localhost");
  return queue.replace(at, 2, host);
}

void fill_in(Signature& call, const ClientOptions& options, bool with_default) {
  CallOptions& o = call.options;
  if (const auto known = options.catalogue.find(call.task); known != options.catalogue.end()) {
    const SendDefaults& task = known->second.sending;
    if (o.queue.empty() && o.exchange.empty() && o.routing_key.empty()) o.queue = task.queue;
    if (!o.priority) o.priority = task.priority;
    if (!o.ignore_result) o.ignore_result = task.ignore_result;
    if (!o.expires && !o.expires_in) o.expires_in = task.expires;
    call.queue_required = call.queue_required || task.queue_required;
  }
  const bool placed = !o.queue.empty() || !o.exchange.empty() || !o.routing_key.empty();
  if (call.queue_required && !placed) {
    throw Error(
        {.kind = ErrorKind::invalid,
         .operation = "send",
         .subject = call.task,
         .detail =
             "queue: expected one in the call, got none; this task has no queue of its own, name it with .on(queue)"});
  }
  if (const TaskRoute* route = find_route(options, call.task)) {
    if (!placed) o.queue = with_host(route->queue);
    if (!o.priority) o.priority = route->priority;
  }
  if (!o.priority) o.priority = options.priority;
  if (!o.expires && !o.expires_in) o.expires_in = options.expires;
  if (with_default && o.queue.empty() && !placed) o.queue = with_host(options.default_queue);
}

}  // namespace

void check_queue_name(const std::string& queue) {
  const bool controls =
      std::any_of(queue.begin(), queue.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (!queue.empty() && queue.size() <= kLongestQueueName && !controls) return;
  throw Error({.kind = ErrorKind::invalid,
               .operation = "send",
               .subject = core::escape_controls(core::shorten(queue, 80)),
               .detail = "queue: expected a name of 1 to 255 bytes without control characters, got " +
                         std::string(controls        ? "one with control characters"
                                     : queue.empty() ? "none"
                                                     : "a longer one")});
}

Route route_call(Signature& call, const ClientOptions& options) {
  fill_in(call, options, true);
  const CallOptions& o = call.options;
  // As in Celery: a queue wins, and only exchange and routing key together name another route.
  if (!o.queue.empty()) {
    check_queue_name(o.queue);
    return {"", o.queue};
  }
  if (!o.exchange.empty()) return {o.exchange, o.routing_key};
  check_queue_name(o.routing_key);
  return {"", o.routing_key};
}

void route_later(Signature& call, const ClientOptions& options) {
  static const ClientOptions kUsual;
  fill_in(call, options, options.default_queue != kUsual.default_queue);
  if (!call.options.queue.empty()) check_queue_name(call.options.queue);
}

}  // namespace errand::client
