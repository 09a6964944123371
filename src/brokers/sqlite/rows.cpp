#include "brokers/sqlite/rows.hpp"

#include "core/text.hpp"
#include "protocol/topic.hpp"

#include <algorithm>
#include <cstdint>

namespace errand::sqlite {

namespace {
constexpr JsonStyle kCompact{.spaces = false, .ascii = false};

}  // namespace

void check_queue_name(std::string_view name) {
  const bool controls =
      std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (!name.empty() && name.size() <= 255 && !controls) return;
  throw Error({.kind = ErrorKind::invalid,
               .operation = "sqlite.queue",
               .subject = core::shorten(core::escape_controls(name), 80),
               .detail = "expected a queue name of 1 to 255 bytes without control characters"});
}

std::string encode_meta(const Message& message, const Route& route) {
  std::string meta = "{\"headers\":";
  write_json(meta, Value(message.headers), kCompact);
  meta += ",\"properties\":";
  write_json(meta, Value(message.properties), kCompact);
  for (const auto& [name, text] :
       {std::pair<std::string_view, const std::string&>{"content_type", message.content_type},
        {"content_encoding", message.content_encoding},
        {"exchange", route.exchange},
        {"routing_key", route.routing_key}}) {
    meta += ",\"" + std::string(name) + "\":";
    write_json(meta, Value(text), kCompact);
  }
  return meta + "}";
}

void decode_meta(std::string_view text, Message& message, Route& route) {
  Value meta = parse_json(text, JsonLimits{.nodes = 1'000'000, .bytes = 64u << 20});
  Object& fields = meta.as_object();
  const auto take = [&](std::string_view name) -> Value {
    Value* found = fields.find(name);
    return found == nullptr ? Value() : std::move(*found);
  };
  message.headers = std::move(take("headers").as_object());
  message.properties = std::move(take("properties").as_object());
  message.content_type = fields.at("content_type").as_text();
  message.content_encoding = fields.at("content_encoding").as_text();
  route.exchange = fields.at("exchange").as_text();
  route.routing_key = fields.at("routing_key").as_text();
}

std::optional<std::int64_t> find_queue(Database& database, std::string_view name) {
  Query query = database.query("SELECT id FROM queue WHERE name = ?");
  query.bind(name);
  if (!query.step()) return std::nullopt;
  return query.integer(0);
}

std::int64_t queue_id(Database& database, std::string_view name) {
  if (const auto known = find_queue(database, name)) return *known;
  check_queue_name(name);
  database.query("INSERT INTO queue (name) VALUES (?)").bind(name).run();
  return database.last_row_id();
}

void declare_queue(Database& database, const QueueSpec& queue) {
  const std::int64_t id = queue_id(database, queue.name);
  const std::string& exchange = queue.exchange.empty() ? queue.name : queue.exchange;
  const std::string& key = queue.routing_key.empty() ? queue.name : queue.routing_key;
  {
    Query query = database.query("SELECT type FROM binding WHERE exchange = ? AND type <> ? LIMIT 1");
    query.bind(exchange).bind(queue.exchange_type);
    if (query.step()) {
      throw Error({.kind = ErrorKind::conflict,
                   .operation = "sqlite.declare",
                   .subject = queue.name,
                   .detail = "expected exchange '" + core::escape_controls(exchange) + "' of type " + query.text(0) +
                             " as it was declared, got " + core::escape_controls(queue.exchange_type)});
    }
  }
  database.query("INSERT OR IGNORE INTO binding (exchange, type, routing_key, queue) VALUES (?,?,?,?)")
      .bind(exchange)
      .bind(queue.exchange_type)
      .bind(key)
      .bind(id)
      .run();
}

std::vector<std::int64_t> queues_of(Database& database, const Route& route) {
  if (route.exchange.empty()) return {queue_id(database, route.routing_key)};
  std::vector<std::int64_t> queues;
  Query query = database.query("SELECT type, routing_key, queue FROM binding WHERE exchange = ?");
  query.bind(route.exchange);
  while (query.step()) {
    const std::string key = query.text(1);
    const std::int64_t queue = query.integer(2);
    const protocol::Binding binding{key, protocol::topic_pattern(key), ""};
    if (!protocol::binding_matches(query.text(0), binding, route.routing_key)) continue;
    if (std::find(queues.begin(), queues.end(), queue) == queues.end()) queues.push_back(queue);
  }
  if (queues.empty()) {
    throw Error({.kind = ErrorKind::not_found,
                 .operation = "sqlite.publish",
                 .subject = core::shorten(core::escape_controls(route.exchange), 80),
                 .detail = "no queue is bound for routing key '" +
                           core::shorten(core::escape_controls(route.routing_key), 80) +
                           "'; declare the queue or send to one by name"});
  }
  return queues;
}

std::int64_t number_of(std::string_view id) noexcept {
  const auto number = core::parse_number(id, INT64_MAX);
  return number ? static_cast<std::int64_t>(*number) : -1;
}

std::int64_t urgency_of(int priority) noexcept { return 9 - std::clamp(priority, 0, 9); }

void check_size(const Envelope& envelope, std::size_t meta_bytes, std::size_t limit) {
  const std::size_t size = envelope.message.body.size() + meta_bytes;
  if (size <= limit) return;
  throw Error({.kind = ErrorKind::invalid,
               .operation = "sqlite.publish",
               .subject = core::shorten(core::escape_controls(envelope.route.routing_key), 80),
               .detail = "expected a message of at most " + std::to_string(limit) +
                         " bytes (limit max_message_bytes), got " + std::to_string(size) +
                         " with its headers; pass a reference to the data instead"});
}

void insert_messages(Database& database, std::span<const Envelope> envelopes, std::size_t limit) {
  const std::int64_t now = now_us();
  const Route* last = nullptr;  // a batch mostly goes one way
  std::vector<std::int64_t> queues;
  for (const Envelope& envelope : envelopes) {
    if (last == nullptr || *last != envelope.route) queues = queues_of(database, envelope.route);
    last = &envelope.route;
    const std::int64_t urgency = urgency_of(envelope.priority);
    const std::string meta = encode_meta(envelope.message, envelope.route);
    check_size(envelope, meta.size(), limit);
    const std::int64_t due = envelope.not_before ? envelope.not_before->time_since_epoch().count() : 0;
    for (const std::int64_t queue : queues) {
      database.query("INSERT INTO message (queue, urgency, meta, body, sent_at) VALUES (?,?,?,?,?)")
          .bind(queue)
          .bind(urgency)
          .bind(meta)
          .bind_blob(envelope.message.body)
          .bind(now)
          .run();
      const std::int64_t message = database.last_row_id();
      if (due > now) {
        database.query("INSERT INTO parked (due, message, deliveries) VALUES (?,?,0)").bind(due).bind(message).run();
      } else {
        database.query("INSERT INTO ready (queue, urgency, message, deliveries) VALUES (?,?,?,0)")
            .bind(queue)
            .bind(urgency)
            .bind(message)
            .run();
      }
    }
  }
}

}  // namespace errand::sqlite
