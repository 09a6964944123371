#include "brokers/sqlite/broker.hpp"

#include "brokers/sqlite/consumer.hpp"
#include "brokers/sqlite/rows.hpp"
#include "brokers/sqlite/subscriber.hpp"
#include "core/failpoint.hpp"
#include "core/text.hpp"

#include <algorithm>

namespace errand::sqlite {

std::unique_ptr<Broker> make_broker(std::string_view url, const TransportOptions& options) {
  return std::make_unique<SqliteBroker>(path_of_url(url), options);
}

SqliteBroker::SqliteBroker(std::string path, TransportOptions options)
    : store_(std::move(path), options.publish_timeout), options_(std::move(options)) {}

BrokerTraits SqliteBroker::traits() const noexcept {
  BrokerTraits traits;
  traits.name = "sqlite";
  traits.durable = true;
  traits.priorities = true;
  traits.fanout = true;
  traits.shared = true;
  traits.lease = Milliseconds{60'000};
  traits.keeps_revokes = true;
  traits.max_message_bytes = options_.max_message_bytes;
  traits.max_dead_letters = options_.max_dead_letters;
  return traits;
}

void SqliteBroker::declare(const Topology& topology) {
  for (const QueueSpec& queue : topology.queues) {
    check_queue_name(queue.name);
    if (queue.exchange_type == "direct" || queue.exchange_type == "topic" || queue.exchange_type == "fanout") continue;
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "sqlite.declare",
                 .subject = queue.name,
                 .detail = "expected an exchange type direct, topic or fanout, got " +
                           core::escape_controls(queue.exchange_type)});
  }
  Database& database = store_.database();
  Transaction transaction(database);
  for (const QueueSpec& queue : topology.queues) declare_queue(database, queue);
  transaction.commit();
}

void SqliteBroker::publish(std::span<const Envelope> envelopes) {
  if (envelopes.empty()) return;
  Database& database = store_.database();
  store_.require_room();
  {
    Transaction transaction(database);
    insert_messages(database, envelopes, options_.max_message_bytes);
    transaction.commit();
  }
  ERRAND_FAILPOINT("pub.after_send");
  store_.announce(News::queue);
}

std::unique_ptr<Consumer> SqliteBroker::consume(const ConsumeOptions& options) {
  return std::make_unique<SqliteConsumer>(store_.path(), options, options_);
}

std::unique_ptr<Consumer> SqliteBroker::subscribe(const Route& pattern) {
  return std::make_unique<SqliteSubscriber>(store_.path(), pattern);
}

void SqliteBroker::broadcast(const Envelope& envelope) {
  constexpr std::int64_t kKeptUs = 60'000'000;  // a subscriber that has not looked for a minute has missed it
  Database& database = store_.database();
  {
    Transaction transaction(database);
    const std::int64_t now = now_us();
    const std::string meta = encode_meta(envelope.message, envelope.route);
    check_size(envelope, meta.size(), options_.max_message_bytes);
    database.query("DELETE FROM broadcast WHERE sent_at < ?").bind(now - kKeptUs).run();
    database.query("INSERT INTO broadcast (exchange, routing_key, meta, body, sent_at) VALUES (?,?,?,?,?)")
        .bind(envelope.route.exchange)
        .bind(envelope.route.routing_key)
        .bind(meta)
        .bind_blob(envelope.message.body)
        .bind(now)
        .run();
    transaction.commit();
  }
  store_.announce(News::queue);
}

QueueInfo SqliteBroker::inspect(std::string_view name) {
  QueueInfo info;
  info.name = std::string(name);
  Database& database = store_.database();
  const auto queue = find_queue(database, name);
  if (!queue) return info;
  const auto count = [&](const char* sql) {
    Query query = database.query(sql);
    query.bind(*queue);
    return query.step() ? static_cast<std::size_t>(query.integer(0)) : std::size_t{0};
  };
  info.ready = count("SELECT count(*) FROM ready WHERE queue = ?");
  info.parked = count("SELECT count(*) FROM parked p JOIN message m ON m.id = p.message WHERE m.queue = ?");
  info.leased = count("SELECT count(*) FROM lease l JOIN message m ON m.id = l.message WHERE m.queue = ?");
  info.dead = count("SELECT count(*) FROM dead WHERE queue = ?");
  Query oldest =
      database.query("SELECT min(m.sent_at) FROM ready r JOIN message m ON m.id = r.message WHERE r.queue = ?");
  oldest.bind(*queue);
  if (oldest.step() && !oldest.is_null(0)) {
    info.oldest =
        std::chrono::duration_cast<Milliseconds>(Microseconds{std::max<std::int64_t>(0, now_us() - oldest.integer(0))});
  }
  return info;
}

std::vector<std::string> SqliteBroker::queues() {
  std::vector<std::string> names;
  Query query = store_.database().query("SELECT name FROM queue ORDER BY name");
  while (query.step()) names.push_back(query.text(0));
  return names;
}

std::size_t SqliteBroker::purge(std::string_view name) {
  Database& database = store_.database();
  Transaction transaction(database);
  const auto queue = find_queue(database, name);
  if (!queue) return 0;
  std::int64_t purged =
      database.query("DELETE FROM message WHERE id IN (SELECT message FROM ready WHERE queue = ?)").bind(*queue).run();
  database.query("DELETE FROM ready WHERE queue = ?").bind(*queue).run();
  purged += database
                .query(
                    "DELETE FROM parked WHERE message IN (SELECT p.message FROM parked p JOIN message m ON m.id = "
                    "p.message WHERE m.queue = ?)")
                .bind(*queue)
                .run();
  database
      .query(
          "DELETE FROM message WHERE queue = ?1 AND id NOT IN (SELECT message FROM lease) AND id NOT IN (SELECT "
          "message FROM dead)")
      .bind(*queue)
      .run();
  transaction.commit();
  return static_cast<std::size_t>(purged);
}

void SqliteBroker::revoke(std::span<const TaskId> ids) {
  if (ids.empty()) return;
  Database& database = store_.database();
  Transaction transaction(database);
  const std::int64_t now = now_us();
  const std::int64_t until = now + std::chrono::duration_cast<Microseconds>(options_.revoke_expires).count();
  database.query("DELETE FROM revoked WHERE until < ?").bind(now).run();
  // A new number each time, so that consumers that have seen the id before hear of it again.
  for (const TaskId& id : ids) {
    database.query("INSERT OR REPLACE INTO revoked (id, until) VALUES (?,?)").bind(id).bind(until).run();
  }
  database
      .query("DELETE FROM revoked WHERE number <= (SELECT number FROM revoked ORDER BY number DESC LIMIT 1 OFFSET ?)")
      .bind(static_cast<std::int64_t>(kMostRevoked))
      .run();
  transaction.commit();
}

std::vector<DeadLetter> SqliteBroker::dead_letters(std::string_view name, std::size_t limit, std::string_view after) {
  std::vector<DeadLetter> letters;
  Database& database = store_.database();
  const auto queue = find_queue(database, name);
  if (!queue) return letters;
  Query query = database.query(
      "SELECT d.id, d.reason, d.detail, d.deliveries, d.first_seen, d.last_seen, m.meta, m.body FROM dead d"
      " JOIN message m ON m.id = d.message WHERE d.queue = ? AND d.id > ? ORDER BY d.id LIMIT ?");
  query.bind(*queue).bind(number_of(after)).bind(static_cast<std::int64_t>(limit));
  while (query.step()) {
    DeadLetter letter;
    letter.id = std::to_string(query.integer(0));
    letter.queue = std::string(name);
    letter.reason = query.text(1);
    letter.detail = query.text(2);
    letter.deliveries = static_cast<std::uint32_t>(query.integer(3));
    letter.first_seen = TimePoint{Microseconds{query.integer(4)}};
    letter.last_seen = TimePoint{Microseconds{query.integer(5)}};
    letter.raw = query.text(6) + "\n" + query.blob(7);
    try {
      Message message;
      Route route;
      decode_meta(query.text(6), message, route);
      const auto text = [&](std::string_view key) {
        const Value* value = message.headers.find(key);
        return value != nullptr && value->if_text() != nullptr ? *value->if_text() : std::string();
      };
      letter.task = text("task");
      letter.task_id = text("id");
    } catch (const Error&) {
      // A row whose text was damaged is here for that very reason, and must not hide the letters after it.
    }
    letters.push_back(std::move(letter));
  }
  return letters;
}

std::size_t SqliteBroker::requeue_dead(std::string_view name, std::span<const std::string> ids) {
  std::size_t found = 0;
  Database& database = store_.database();
  {
    Transaction transaction(database);
    const auto queue = find_queue(database, name);
    if (!queue) return 0;
    for (const std::string& id : ids) {
      const std::int64_t key = number_of(id);
      const std::int64_t moved = database
                                     .query(
                                         "INSERT INTO ready (queue, urgency, message, deliveries) SELECT m.queue, "
                                         "m.urgency, m.id, 0 FROM dead d"
                                         " JOIN message m ON m.id = d.message WHERE d.id = ? AND d.queue = ?")
                                     .bind(key)
                                     .bind(*queue)
                                     .run();
      if (moved == 0) continue;
      // A new life: outcomes of earlier deliveries are no reason not to run it.
      database
          .query(
              "UPDATE message SET life = (SELECT value + 1 FROM counter WHERE name = 'token') WHERE id = (SELECT "
              "message "
              "FROM dead WHERE id = ?)")
          .bind(key)
          .run();
      database.query("DELETE FROM dead WHERE id = ?").bind(key).run();
      found += 1;
    }
    transaction.commit();
  }
  if (found > 0) store_.announce(News::queue);
  return found;
}

std::size_t SqliteBroker::drop_dead(std::string_view name, std::span<const std::string> ids) {
  std::size_t found = 0;
  Database& database = store_.database();
  Transaction transaction(database);
  const auto queue = find_queue(database, name);
  if (!queue) return 0;
  for (const std::string& id : ids) {
    const std::int64_t key = number_of(id);
    database.query("DELETE FROM message WHERE id = (SELECT message FROM dead WHERE id = ? AND queue = ?)")
        .bind(key)
        .bind(*queue)
        .run();
    found += static_cast<std::size_t>(
        database.query("DELETE FROM dead WHERE id = ? AND queue = ?").bind(key).bind(*queue).run());
  }
  transaction.commit();
  return found;
}

}  // namespace errand::sqlite
