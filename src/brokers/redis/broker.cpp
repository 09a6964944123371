#include "brokers/redis/broker.hpp"

#include "brokers/redis/consumer.hpp"
#include "brokers/redis/scripts.hpp"
#include "brokers/redis/subscriber.hpp"
#include "core/text.hpp"
#include "core/uuid.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"
#include "protocol/topic.hpp"

#include <algorithm>
#include <charconv>

namespace errand::redis {

std::unique_ptr<Broker> make_broker(std::string_view url, const TransportOptions& options) {
  return std::make_unique<RedisBroker>(parse_url(url), options);
}

void check_queue_name(std::string_view name) {
  const bool bad = std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; });
  if (!name.empty() && name.size() <= 255 && !bad) return;
  throw Error({.kind = ErrorKind::invalid, .operation = "redis.queue", .subject = core::shorten(core::escape_controls(name), 80),
               .detail = "expected a queue name of 1 to 255 bytes without control characters, quotes and backslashes"});
}

void check_size(const Envelope& envelope, std::size_t limit) {
  if (envelope.message.body.size() <= limit) return;
  throw Error({.kind = ErrorKind::invalid, .operation = "redis.publish", .subject = envelope.route.routing_key,
               .detail = "expected a message of at most " + std::to_string(limit) + " bytes (limit max_message_bytes), got " +
                         std::to_string(envelope.message.body.size()) + "; pass a reference to the data instead"});
}

std::string score_text(TimePoint point) {
  const auto micros = point.time_since_epoch().count();
  std::string fraction = std::to_string(micros % 1'000'000);
  fraction.insert(0, 6 - std::min<std::size_t>(6, fraction.size()), '0');
  return std::to_string(micros / 1'000'000) + "." + fraction;
}

void append_follow_up(std::vector<std::string>& words, const Keys& keys, const Envelope& envelope, std::string_view queue) {
  words.emplace_back(envelope.not_before ? "park" : "push");
  words.push_back(keys.list(queue, keys.step_of(envelope.priority)));
  words.push_back(protocol::encode_envelope(envelope, core::uuid4()));
  words.push_back(envelope.not_before ? score_text(*envelope.not_before) : "");
  words.push_back(keys.parked(queue));
}

RedisBroker::RedisBroker(Url url, TransportOptions options)
    : url_(std::move(url)), options_(std::move(options)), keys_(options_.key_prefix, options_.priority_steps),
      connection_(url_, options_.connect_timeout, options_.publish_timeout) {}

BrokerTraits RedisBroker::traits() const noexcept {
  BrokerTraits traits;
  traits.name = "redis";
  traits.durable = false;  // that depends on the server's persistence
  traits.priorities = true;
  traits.low_is_urgent = true;
  traits.fanout = true;
  traits.shared = true;
  traits.foreign_readers = true;
  traits.lease = options_.visibility_timeout;
  traits.max_message_bytes = options_.max_message_bytes;
  return traits;
}

void RedisBroker::declare(const Topology& topology) {
  Commands commands;
  for (const QueueSpec& queue : topology.queues) {
    check_queue_name(queue.name);
    const std::string exchange = queue.exchange.empty() ? queue.name : queue.exchange;
    const std::string key = queue.routing_key.empty() ? queue.name : queue.routing_key;
    protocol::Binding binding{key, "", queue.name};
    if (queue.exchange_type == "topic") binding.pattern = protocol::topic_pattern(key);
    if (queue.exchange_type == "fanout") binding.routing_key.clear();
    commands.add({"SADD", keys_.binding(exchange), protocol::format_binding(binding)});
    commands.add({"SADD", keys_.queues(), queue.name});
  }
  for (const Reply& reply : connection_.call(commands)) require(reply, "redis.declare");
}

// A named exchange sends to every queue bound to it with a matching key; an unbound one would drop silently.
std::vector<std::string> RedisBroker::bound_queues(const Route& route) {
  std::vector<std::string> queues;
  const Reply members = connection_.call({"SMEMBERS", keys_.binding(route.exchange)});
  for (const Reply& member : members.elements) {
    const auto binding = protocol::parse_binding(member.text);
    if (!binding) continue;
    const std::string_view type = binding->pattern.empty() ? (binding->routing_key.empty() ? "fanout" : "direct") : "topic";
    if (protocol::binding_matches(type, *binding, route.routing_key)) queues.push_back(binding->queue);
  }
  if (queues.empty()) {
    throw Error({.kind = ErrorKind::not_found, .operation = "redis.publish", .subject = route.exchange,
                 .detail = "no queue is bound for routing key '" + core::escape_controls(route.routing_key) + "'; declare the queue or send to one by name"});
  }
  std::sort(queues.begin(), queues.end());
  queues.erase(std::unique(queues.begin(), queues.end()), queues.end());
  return queues;
}

void RedisBroker::publish(std::span<const Envelope> envelopes) {
  if (envelopes.empty()) return;
  for (const Envelope& envelope : envelopes) check_size(envelope, options_.max_message_bytes);
  Commands commands;
  for (const Envelope& envelope : envelopes) {
    std::vector<std::string> queues;
    if (envelope.route.exchange.empty()) queues.push_back(envelope.route.routing_key);
    else queues = bound_queues(envelope.route);
    for (const std::string& queue : queues) {
      check_queue_name(queue);
      std::vector<std::string> words;
      append_follow_up(words, keys_, envelope, queue);  // with a tag of its own for every copy
      if (envelope.not_before) commands.add({"ZADD", words[4], words[3], words[1] + "\n" + words[2]});
      else commands.add({"LPUSH", words[1], words[2]});
    }
  }
  for (const Reply& reply : connection_.call(commands)) require(reply, "redis.publish");
}

std::unique_ptr<Consumer> RedisBroker::consume(const ConsumeOptions& options) {
  for (const std::string& queue : options.queues) check_queue_name(queue);
  return std::make_unique<RedisConsumer>(url_, options_, options);
}

std::unique_ptr<Consumer> RedisBroker::subscribe(const Route& pattern) {
  return std::make_unique<RedisSubscriber>(url_, options_, pattern);
}

void RedisBroker::broadcast(const Envelope& envelope) {
  connection_.call({"PUBLISH", keys_.channel(url_.database, envelope.route.exchange, envelope.route.routing_key),
                    protocol::encode_envelope(envelope, core::uuid4())});
}

QueueInfo RedisBroker::inspect(std::string_view queue) {
  QueueInfo info;
  info.name = std::string(queue);
  Commands commands;
  for (const std::string& list : keys_.lists(queue)) commands.add({"LLEN", list});
  commands.add({"ZCARD", keys_.parked(queue)});
  commands.add({"HLEN", keys_.dead(queue)});
  commands.add({"HVALS", keys_.leases()});
  const std::vector<Reply> replies = connection_.call(commands);
  for (const Reply& reply : replies) require(reply, "redis.inspect");
  const std::size_t steps = keys_.steps().size();
  for (std::size_t i = 0; i < steps; ++i) info.ready += static_cast<std::size_t>(replies[i].integer);
  info.parked = static_cast<std::size_t>(replies[steps].integer);
  info.dead = static_cast<std::size_t>(replies[steps + 1].integer);
  const std::vector<std::string> lists = keys_.lists(queue);
  for (const Reply& lease : replies[steps + 2].elements) {
    const std::size_t cut = lease.text.find('|', lease.text.find('|') + 1);
    if (cut != std::string::npos && std::find(lists.begin(), lists.end(), lease.text.substr(cut + 1)) != lists.end()) info.leased += 1;
  }
  return info;
}

std::vector<std::string> RedisBroker::queues() {
  std::vector<std::string> names;
  for (const Reply& name : connection_.call({"SMEMBERS", keys_.queues()}).elements) names.push_back(name.text);
  std::sort(names.begin(), names.end());
  return names;
}

std::size_t RedisBroker::purge(std::string_view queue) {
  Commands commands;
  commands.add({"MULTI"});
  for (const std::string& list : keys_.lists(queue)) commands.add({"LLEN", list});
  commands.add({"ZCARD", keys_.parked(queue)});
  for (const std::string& list : keys_.lists(queue)) commands.add({"DEL", list});
  commands.add({"DEL", keys_.parked(queue)});
  commands.add({"EXEC"});
  const std::vector<Reply> replies = connection_.call(commands);
  for (const Reply& reply : replies) require(reply, "redis.purge");
  std::size_t purged = 0;
  for (std::size_t i = 0; i <= keys_.steps().size(); ++i) purged += static_cast<std::size_t>(replies.back().elements.at(i).integer);
  return purged;
}

std::vector<DeadLetter> RedisBroker::dead_letters(std::string_view queue, std::size_t limit, std::string_view after) {
  std::vector<DeadLetter> letters;
  const Reply order = connection_.call({"ZRANGE", keys_.dead_index(queue), "0", "-1"});
  bool seen = after.empty();
  for (const Reply& id : order.elements) {
    if (!seen) {
      seen = id.text == after;
      continue;
    }
    if (letters.size() >= limit) break;
    const Reply record = connection_.call({"HGET", keys_.dead(queue), id.text});
    if (record.is_nil()) continue;
    // Three parts, each after a line's end: our record as JSON, the list it came from, the original bytes.
    const std::size_t a = record.text.find('\n');
    const std::size_t b = a == std::string::npos ? a : record.text.find('\n', a + 1);
    if (b == std::string::npos) continue;
    DeadLetter letter;
    letter.id = id.text;
    letter.queue = std::string(queue);
    letter.raw = record.text.substr(b + 1);
    const Value info = parse_json(std::string_view(record.text).substr(0, a));
    letter.reason = info.as_object().at("reason").as_text();
    letter.detail = info.as_object().at("detail").as_text();
    letter.deliveries = static_cast<std::uint32_t>(info.as_object().at("deliveries").as_integer());
    letter.last_seen = from_unix_seconds(info.as_object().at("last_seen").as_number());
    letter.first_seen = letter.last_seen;
    if (const Value* first = info.find("first_seen")) letter.first_seen = from_unix_seconds(first->as_number());
    try {
      const protocol::StoredMessage stored = protocol::read_envelope(letter.raw);
      const auto text = [&](std::string_view key) {
        const Value* value = stored.message.headers.find(key);
        return value != nullptr && value->if_text() != nullptr ? *value->if_text() : std::string();
      };
      letter.task = text("task");
      letter.task_id = text("id");
    } catch (const protocol::DecodeFailure&) {
      // That is why it is here.
    }
    letters.push_back(std::move(letter));
  }
  return letters;
}

std::size_t RedisBroker::take_dead(std::string_view what, std::string_view queue, std::span<const std::string> ids) {
  if (ids.empty()) return 0;
  std::vector<std::string> arguments{std::string(what)};
  arguments.insert(arguments.end(), ids.begin(), ids.end());
  const std::vector<std::string> keys{keys_.dead(queue), keys_.dead_index(queue)};
  return static_cast<std::size_t>(connection_.eval(dead_script(), keys, arguments).integer);
}

std::size_t RedisBroker::requeue_dead(std::string_view queue, std::span<const std::string> ids) { return take_dead("requeue", queue, ids); }
std::size_t RedisBroker::drop_dead(std::string_view queue, std::span<const std::string> ids) { return take_dead("drop", queue, ids); }

}  // namespace errand::redis
