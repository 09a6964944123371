#include "brokers/redis/outgoing.hpp"

#include "core/text.hpp"
#include "core/uuid.hpp"
#include "protocol/envelope.hpp"
#include "protocol/topic.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <map>
#include <utility>

namespace errand::redis {

namespace {

// Members of the binding sets of all named exchanges, in one round trip.
std::map<std::string, std::vector<Reply>> ask_bindings(std::span<const Envelope> envelopes, const Keys& keys,
                                                       Connection& connection) {
  std::map<std::string, std::vector<Reply>> bindings;
  for (const Envelope& envelope : envelopes) {
    if (!envelope.route.exchange.empty()) bindings.try_emplace(envelope.route.exchange);
  }
  if (bindings.empty()) return bindings;
  Commands commands;
  for (const auto& [exchange, members] : bindings) commands.begin("SMEMBERS").word(keys.binding(exchange));
  std::vector<Reply> replies = connection.call(commands, Effect::repeatable);
  require_all(replies, "redis.publish");
  std::size_t at = 0;
  for (auto& [exchange, members] : bindings) members = std::move(replies[at++].elements);
  return bindings;
}

}  // namespace

void check_sizes(std::span<const Envelope> envelopes, std::size_t limit) {
  if (limit == 0) return;
  for (const Envelope& envelope : envelopes) {
    if (envelope.message.body.size() <= limit) continue;
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "redis.publish",
                 .subject = envelope.route.routing_key,
                 .detail = "expected a message of at most " + std::to_string(limit) +
                           " bytes (max_message_bytes), got " + std::to_string(envelope.message.body.size()) +
                           "; pass a reference to the data instead"});
  }
}

Write parked_write(const Keys& keys, std::string_view queue, std::string_view list, std::string_view unique,
                   std::string_view envelope, TimePoint due) {
  std::string entry;
  entry.reserve(list.size() + unique.size() + envelope.size() + 2);
  entry += list;
  entry += '\n';
  entry += unique;
  entry += '\n';
  entry += envelope;
  return {Write::Kind::add_scored, keys.parked(queue), std::to_string(due.time_since_epoch().count()),
          std::move(entry)};
}

std::vector<std::string> bound_queues(const Route& route, std::span<const Reply> bindings) {
  std::vector<std::string> queues;
  for (const Reply& member : bindings) {
    const auto binding = protocol::parse_binding(member.text);
    if (!binding) continue;
    // The type of an exchange stands nowhere in Redis; only topic bindings have a pattern.
    const std::string_view type = binding->pattern.empty() ? "direct" : "topic";
    if (protocol::binding_matches(type, *binding, route.routing_key)) queues.push_back(binding->queue);
  }
  std::sort(queues.begin(), queues.end());
  queues.erase(std::unique(queues.begin(), queues.end()), queues.end());
  return queues;
}

std::vector<Write> writes_of(std::span<const Envelope> envelopes, const Keys& keys, Connection& connection,
                             std::vector<std::size_t>* of, Microseconds doubt) {
  std::vector<Write> writes;
  writes.reserve(envelopes.size());
  const auto bindings = ask_bindings(envelopes, keys, connection);
  for (const Envelope& envelope : envelopes) {
    std::vector<std::string> queues;
    if (envelope.route.exchange.empty()) {
      queues.push_back(envelope.route.routing_key);
    } else {
      queues = bound_queues(envelope.route, bindings.at(envelope.route.exchange));
      if (queues.empty()) {
        throw Error({.kind = ErrorKind::not_found,
                     .operation = "redis.publish",
                     .subject = envelope.route.exchange,
                     .detail = "no queue is bound for routing key '" +
                               core::escape_controls(core::shorten(envelope.route.routing_key, 80)) +
                               "'; declare the queue, or send to one by name"});
      }
    }
    for (const std::string& queue : queues) {
      check_queue_name(queue);
      if (of != nullptr) of->push_back(static_cast<std::size_t>(&envelope - envelopes.data()));
      const std::string tag = core::uuid4();
      std::string list = keys.list(queue, envelope.priority);
      std::string bytes = protocol::encode_envelope(envelope, tag);
      if (envelope.not_before) {
        writes.push_back(parked_write(keys, queue, list, tag, bytes, *envelope.not_before + doubt));
      } else {
        writes.push_back({Write::Kind::push_back, std::move(list), "", std::move(bytes)});
      }
    }
  }
  return writes;
}

}  // namespace errand::redis
