// The consumer's life: waiting, fetching, rescuing. Settling is in settle.cpp.
#include "brokers/sqlite/consumer.hpp"

#include "brokers/sqlite/liveness.hpp"
#include "brokers/sqlite/rows.hpp"
#include "core/failpoint.hpp"
#include "core/log.hpp"

#include <algorithm>

namespace errand::sqlite {

namespace {
constexpr Milliseconds kRescueEvery{1'000};  // how soon a dead process's messages are found
constexpr std::int64_t kPromoteAtOnce = 1'000;
constexpr std::size_t kMostBatchBytes = 64u << 20;  // of messages in one batch, whatever was asked for
}  // namespace

SqliteConsumer::SqliteConsumer(std::string path, ConsumeOptions options, const TransportOptions& transport)
    : store_(std::move(path)),
      options_(std::move(options)),
      max_message_bytes_(transport.max_message_bytes),
      max_dead_letters_(transport.max_dead_letters),
      waiter_(store_.path(), News::queue) {
  if (options_.queues.empty()) {
    throw Error(
        {.kind = ErrorKind::invalid, .operation = "sqlite.consume", .detail = "expected at least one queue, got none"});
  }
  for (const std::string& queue : options_.queues) check_queue_name(queue);
  queue_numbers_.resize(options_.queues.size());
  owner(store_.database());
}

// What was handed out and not settled goes back: whoever comes next takes it at once.
SqliteConsumer::~SqliteConsumer() {
  try {
    ERRAND_FAILPOINT("shutdown.return_leases");
    Database& database = store_.database();
    Transaction transaction(database);
    for (const Delivery& one : ahead_) {  // nobody has seen it, so that this delivery does not count
      database.query("UPDATE lease SET deliveries = max(1, deliveries - 1) WHERE message = ? AND token = ?")
          .bind(number_of(one.receipt.id))
          .bind(static_cast<std::int64_t>(one.receipt.token))
          .run();
    }
    database
        .query(
            "INSERT INTO ready (queue, urgency, message, deliveries) SELECT m.queue, m.urgency, m.id, l.deliveries "
            "FROM lease l"
            " JOIN message m ON m.id = l.message WHERE l.owner = ?")
        .bind(owner_)
        .run();
    const std::int64_t returned = database.query("DELETE FROM lease WHERE owner = ?").bind(owner_).run();
    database.query("DELETE FROM owner WHERE id = ?").bind(owner_).run();
    transaction.commit();
    if (returned > 0) store_.announce(News::queue);
  } catch (const Error&) {
    // The file is away; the leases run out by themselves.
  }
}

std::int64_t SqliteConsumer::owner(Database& database) {
  if (owner_ != 0) return owner_;
  const Process self = this_process();
  database.query("INSERT INTO owner (name, pid, started, host) VALUES (?,?,?,?)")
      .bind(options_.owner)
      .bind(self.pid)
      .bind(self.started)
      .bind(self.host)
      .run();
  return owner_ = database.last_row_id();
}

std::span<Delivery> SqliteConsumer::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  deliveries_.swap(ahead_);
  if (!deliveries_.empty()) return deliveries_;
  if (max == 0) {
    waiter_.wait_for_wake(deadline);
    waiter_.take_wake();
    return {};
  }
  for (;;) {
    waiter_.clear();
    Database& database = store_.database();
    const SteadyPoint now = std::chrono::steady_clock::now();
    if (something_waits(database) || (rescue_at_ <= now && rescue_waits(database))) claim(max);
    deliveries_.swap(ahead_);
    if (!deliveries_.empty() || waiter_.take_wake() || deadline.passed()) return deliveries_;
    Deadline until = deadline.earlier(Deadline::at(rescue_at_));
    if (const auto due = next_due(database)) {
      until = until.earlier(Deadline::after(Microseconds{std::max<std::int64_t>(0, *due - now_us())}));
    }
    waiter_.wait(until);
  }
}

// 0 while nobody has declared it or sent to it. Queues are never deleted, so an id that was seen stays right.
std::int64_t SqliteConsumer::queue_number(Database& database, std::size_t index) {
  std::int64_t& number = queue_numbers_[index];
  if (number == 0) number = find_queue(database, options_.queues[index]).value_or(0);
  return number;
}

// A look without the write lock, so that many idle consumers do not queue for it at every message.
bool SqliteConsumer::something_waits(Database& database) {
  for (std::size_t i = 0; i < options_.queues.size(); ++i) {
    Query query = database.query("SELECT 1 FROM ready WHERE queue = ? LIMIT 1");
    query.bind(queue_number(database, i));
    if (query.step()) return true;
  }
  const auto due = next_due(database);
  return due && *due <= now_us();
}

// Likewise: whether a lease has run out or its process has died. Looks again a second later if not.
bool SqliteConsumer::rescue_waits(Database& database) {
  {
    Query query = database.query("SELECT 1 FROM lease WHERE until < ? LIMIT 1");
    if (query.bind(lease_now_us()).step()) return true;
  }
  if (!dead_owners(database).empty()) return true;
  rescue_at_ = std::chrono::steady_clock::now() + kRescueEvery;
  return false;
}

std::vector<std::int64_t> SqliteConsumer::dead_owners(Database& database) {
  std::vector<std::int64_t> gone;
  Query query = database.query("SELECT id, pid, started, host FROM owner WHERE id <> ?");
  query.bind(owner_);
  while (query.step()) {
    if (!may_be_alive({query.integer(1), query.integer(2), query.text(3)})) gone.push_back(query.integer(0));
  }
  return gone;
}

std::optional<std::int64_t> SqliteConsumer::next_due(Database& database) {
  Query query = database.query("SELECT due FROM parked ORDER BY due LIMIT 1");
  if (!query.step()) return std::nullopt;
  return query.integer(0);
}

void SqliteConsumer::claim(std::size_t max) {
  Database& database = store_.database();
  ERRAND_FAILPOINT("claim.before");
  Transaction transaction(database);
  Claimed claimed = claim_within(database, max);
  transaction.commit();
  take_in(std::move(claimed));
}

SqliteConsumer::Claimed SqliteConsumer::claim_within(Database& database, std::size_t max) {
  Claimed claimed;
  const std::int64_t now = now_us();
  promote_parked(database, now);
  if (const SteadyPoint steady = std::chrono::steady_clock::now(); rescue_at_ <= steady) {
    rescue(database);
    rescue_at_ = steady + kRescueEvery;
  }
  // One token for the whole batch: what counts is that a later delivery of a message has a higher one.
  std::int64_t token = 1;
  {
    Query query = database.query("SELECT value FROM counter WHERE name = 'token'");
    if (query.step()) token = query.integer(0) + 1;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < options_.queues.size() && claimed.deliveries.size() < max && bytes < kMostBatchBytes;
       ++i) {
    bytes += claim_from(database, (rotation_ + i) % options_.queues.size(), max, token, claimed);
  }
  learn_revoked(database, now);
  if (!claimed.deliveries.empty()) {
    database.query("UPDATE counter SET value = ? WHERE name = 'token'").bind(token).run();
  }
  ERRAND_FAILPOINT_IF(!claimed.deliveries.empty(), "fetch.after_pop");
  return claimed;
}

// After the commit, so that the write lock is free again while messages are decoded.
void SqliteConsumer::take_in(Claimed claimed) {
  rotation_ = (rotation_ + 1) % options_.queues.size();
  for (std::size_t i = 0; i < claimed.deliveries.size(); ++i) {
    Delivery& delivery = claimed.deliveries[i];
    try {
      decode_meta(claimed.metas[i], delivery.message, delivery.route);
    } catch (const Error& error) {
      delivery.defect = error.what();
      delivery.raw = claimed.metas[i] + "\n" + delivery.message.body;
    }
  }
  ahead_ = std::move(claimed.deliveries);
  ERRAND_FAILPOINT_IF(!ahead_.empty(), "claim.after");
}

// Takes from the front of one queue. What is taken is a range of the index, so the entries move in one statement.
std::size_t SqliteConsumer::claim_from(Database& database, std::size_t index, std::size_t max, std::int64_t token,
                                       Claimed& into) {
  const std::int64_t queue = queue_number(database, index);
  std::size_t bytes = 0;
  std::int64_t urgency = -1;
  std::int64_t message = 0;
  {
    Query query = database.query(
        "SELECT r.urgency, r.message, r.deliveries, m.meta, m.body, m.life FROM ready r CROSS JOIN message m ON m.id = "
        "r.message"
        " WHERE r.queue = ? ORDER BY r.urgency, r.message LIMIT ?");
    query.bind(queue).bind(static_cast<std::int64_t>(max - into.deliveries.size()));
    while (bytes < kMostBatchBytes && query.step()) {
      urgency = query.integer(0);
      message = query.integer(1);
      Delivery& delivery = into.deliveries.emplace_back();
      delivery.receipt = {std::to_string(message), static_cast<std::uint64_t>(token), options_.queues[index]};
      delivery.deliveries = static_cast<std::uint32_t>(query.integer(2)) + 1;
      delivery.redelivered = delivery.deliveries > 1;
      delivery.life_token = static_cast<std::uint64_t>(query.integer(5));
      into.metas.push_back(query.text(3));
      delivery.message.body = query.blob(4);
      bytes += into.metas.back().size() + delivery.message.body.size();
    }
  }
  if (urgency < 0) return 0;
  const std::int64_t until = lease_now_us() + std::chrono::duration_cast<Microseconds>(options_.lease).count();
  database
      .query(
          "INSERT OR REPLACE INTO lease (message, owner, token, until, deliveries) SELECT message, ?4, ?5, ?6, "
          "deliveries + 1"
          " FROM ready WHERE queue = ?1 AND (urgency, message) <= (?2, ?3)")
      .bind(queue)
      .bind(urgency)
      .bind(message)
      .bind(owner(database))
      .bind(token)
      .bind(until)
      .run();
  database.query("DELETE FROM ready WHERE queue = ? AND (urgency, message) <= (?, ?)")
      .bind(queue)
      .bind(urgency)
      .bind(message)
      .run();
  return bytes;
}

// In the claim's own transaction: what was revoked before it is known before anything of it runs.
void SqliteConsumer::learn_revoked(Database& database, std::int64_t now) {
  std::int64_t newest = 0;
  {
    Query query = database.query("SELECT max(number) FROM revoked");
    if (query.step() && !query.is_null(0)) newest = query.integer(0);
  }
  if (newest <= revoked_seen_) return;
  Query query = database.query("SELECT id, until FROM revoked WHERE number > ? ORDER BY number");
  query.bind(revoked_seen_);
  while (query.step()) {
    const auto left = std::chrono::duration_cast<Milliseconds>(Microseconds{query.integer(1) - now});
    if (left > Milliseconds{0}) revoked_.push_back({query.text(0), left});
  }
  revoked_seen_ = newest;
}

void SqliteConsumer::promote_parked(Database& database, std::int64_t now) {
  const std::int64_t moved = database
                                 .query(
                                     "INSERT INTO ready (queue, urgency, message, deliveries) SELECT m.queue, "
                                     "m.urgency, m.id, p.deliveries FROM"
                                     " (SELECT message, deliveries FROM parked WHERE due <= ?1 ORDER BY due LIMIT ?2) "
                                     "p JOIN message m ON m.id = p.message")
                                 .bind(now)
                                 .bind(kPromoteAtOnce)
                                 .run();
  if (moved == 0) return;
  database
      .query(
          "DELETE FROM parked WHERE (due, message) IN (SELECT due, message FROM parked WHERE due <= ?1 ORDER BY due "
          "LIMIT ?2)")
      .bind(now)
      .bind(kPromoteAtOnce)
      .run();
}

// Messages of processes that have died, at once, and of leases that ran out, whoever held them.
void SqliteConsumer::rescue(Database& database) {
  ERRAND_FAILPOINT("sweep.before");
  const std::int64_t now = lease_now_us();
  for (const std::int64_t id : dead_owners(database)) {
    ERRAND_FAILPOINT("lease.expire");
    database.query("UPDATE lease SET until = 0 WHERE owner = ?").bind(id).run();
    database.query("DELETE FROM owner WHERE id = ?").bind(id).run();
  }
  ERRAND_FAILPOINT("restore.before");
  const std::int64_t back = database
                                .query(
                                    "INSERT INTO ready (queue, urgency, message, deliveries) SELECT m.queue, "
                                    "m.urgency, m.id, l.deliveries FROM lease l"
                                    " JOIN message m ON m.id = l.message WHERE l.until < ?")
                                .bind(now)
                                .run();
  if (back == 0) return;
  ERRAND_FAILPOINT("restore.between");
  database.query("DELETE FROM lease WHERE until < ?").bind(now).run();
}

}  // namespace errand::sqlite
