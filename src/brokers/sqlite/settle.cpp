// SqliteConsumer: settling what was handed out, with all that belongs to it, in one transaction; and renewing leases.
#include "brokers/sqlite/consumer.hpp"
#include "brokers/sqlite/rows.hpp"
#include "core/failpoint.hpp"
#include "core/in_time.hpp"
#include "core/log.hpp"
#include "wire/sqlite/results.hpp"

#include <algorithm>
#include <iterator>

namespace errand::sqlite {

std::vector<std::uint32_t> SqliteConsumer::apply(Database& database, std::span<const Settlement> settlements) {
  const std::int64_t now = now_us();
  std::vector<std::uint32_t> late;
  for (std::uint32_t place = 0; place < settlements.size(); ++place) {
    const Settlement& settlement = settlements[place];
    const std::int64_t message = number_of(settlement.receipt.id);
    const auto token = static_cast<std::int64_t>(settlement.receipt.token);
    std::int64_t deliveries = 0;
    if (settlement.kind != Settlement::Kind::ack) {
      Query query = database.query("SELECT deliveries FROM lease WHERE message = ? AND token = ?");
      if (query.bind(message).bind(token).step()) deliveries = query.integer(0);
    }
    if (database.query("DELETE FROM lease WHERE message = ? AND token = ?").bind(message).bind(token).run() == 0) {
      late.push_back(place);  // the lease ran out and somebody else has the message now
      continue;
    }
    switch (settlement.kind) {
      case Settlement::Kind::ack:
        database.query("DELETE FROM message WHERE id = ?").bind(message).run();
        break;
      case Settlement::Kind::requeue:
        database
            .query(
                "INSERT INTO ready (queue, urgency, message, deliveries) SELECT queue, urgency, id, ? FROM message "
                "WHERE id = ?")
            .bind(std::max<std::int64_t>(1, deliveries - 1))  // does not count, but the next one is a redelivery
            .bind(message)
            .run();
        break;
      case Settlement::Kind::park:
        database.query("INSERT INTO parked (due, message, deliveries) VALUES (?,?,?)")
            .bind(settlement.not_before.time_since_epoch().count())
            .bind(message)
            .bind(settlement.begun ? deliveries : std::max<std::int64_t>(0, deliveries - 1))
            .run();
        break;
      case Settlement::Kind::dead_letter:
        if (!room_for_dead(database, message)) {
          database.query("INSERT INTO parked (due, message, deliveries) VALUES (?,?,?)")
              .bind(now + Microseconds(kFullDeadWait).count())
              .bind(message)
              .bind(std::max<std::int64_t>(0, deliveries - 1))
              .run();
          break;
        }
        database
            .query(
                "INSERT INTO dead (queue, message, reason, detail, deliveries, first_seen, last_seen)"
                " SELECT queue, id, ?, ?, ?, sent_at, ? FROM message WHERE id = ?")
            .bind(settlement.reason)
            .bind(settlement.detail)
            .bind(deliveries)
            .bind(now)
            .bind(message)
            .run();
        break;
    }
  }
  return late;
}

// Counting costs a scan, so half of the room that was found may be used up before the next count.
bool SqliteConsumer::room_for_dead(Database& database, std::int64_t message) {
  constexpr std::int64_t kMostUncounted = 256;
  std::int64_t queue = 0;
  {
    Query find = database.query("SELECT queue FROM message WHERE id = ?");
    if (find.bind(message).step()) queue = find.integer(0);
  }
  std::int64_t& uncounted = dead_uncounted_[queue];
  if (uncounted > 0) {
    uncounted -= 1;
    return true;
  }
  const auto most = static_cast<std::int64_t>(max_dead_letters_);
  Query query = database.query(
      "SELECT count(*), (SELECT name FROM queue WHERE id = ?1) FROM (SELECT 1 FROM dead WHERE queue = ?1 LIMIT ?2)");
  query.bind(queue).bind(most);
  const std::int64_t count = query.step() ? query.integer(0) : 0;
  uncounted = std::min(kMostUncounted, (most - count) / 2);
  if (count < most) return true;
  log::limited(log::Level::error, "dead.full",
               "queue " + query.text(1) + " has " + std::to_string(most) +
                   " dead letters, limit max_dead_letters; what cannot run waits in its queue: requeue or drop some");
  return false;
}

void SqliteConsumer::count_late(std::span<const Settlement> settlements, std::span<const std::uint32_t> late) {
  stale_ += late.size();
  for (const std::uint32_t place : late) lost_.push_back(settlements[place].receipt);
}

void SqliteConsumer::settle(std::span<const Settlement> settlements) {
  if (settlements.empty()) return;
  Database& database = store_.database();
  {
    Transaction transaction(database);
    const std::vector<std::uint32_t> late = apply(database, settlements);
    transaction.commit();
    count_late(settlements, late);
  }
  const bool news = std::any_of(settlements.begin(), settlements.end(),
                                [](const Settlement& s) { return s.kind != Settlement::Kind::ack; });
  if (news) store_.announce(News::queue);
}

bool SqliteConsumer::commit(const Commit& commit, ResultBackend* results_in) {
  const auto* user = dynamic_cast<const StoreUser*>(results_in);
  if (!commit.results.empty() && (user == nullptr || user->store_path() != store_.path())) return false;
  Database& database = store_.database();
  {
    Transaction transaction(database);
    // Who came too late is known first: what belongs to it is somebody else's to send and to store.
    const std::vector<std::uint32_t> late = apply(database, commit.settlements);
    if (late.empty()) {
      insert_messages(database, commit.follow_ups, max_message_bytes_);
      write_results(database, commit.results);
    } else {
      insert_messages(database, core::in_time(commit.follow_ups, commit.follow_ups_of, late), max_message_bytes_);
      write_results(database, core::in_time(commit.results, commit.results_of, late));
    }
    if (!commit.results.empty()) sweep_.run(database, user->result_expires());
    const bool along = commit.then_fetch > 0 && ahead_.empty();
    Claimed claimed = along ? claim_within(database, commit.then_fetch) : Claimed{};
    transaction.commit();
    count_late(commit.settlements, late);
    if (along) take_in(std::move(claimed));
  }
  ERRAND_FAILPOINT("result.commit_sent");
  if (!commit.results.empty()) store_.announce(News::result);
  const bool news =
      !commit.follow_ups.empty() || std::any_of(commit.settlements.begin(), commit.settlements.end(),
                                                [](const Settlement& s) { return s.kind != Settlement::Kind::ack; });
  if (news) store_.announce(News::queue);
  return true;
}

void SqliteConsumer::extend(std::span<const Receipt> receipts, Milliseconds lease) {
  if (receipts.empty()) return;
  ERRAND_FAILPOINT("lease.renew");
  const std::int64_t until = lease_now_us() + std::chrono::duration_cast<Microseconds>(lease).count();
  Database& database = store_.database();
  std::vector<Receipt> lost;
  Transaction transaction(database);
  for (const Receipt& receipt : receipts) {
    const std::int64_t held = database.query("UPDATE lease SET until = ? WHERE message = ? AND token = ?")
                                  .bind(until)
                                  .bind(number_of(receipt.id))
                                  .bind(static_cast<std::int64_t>(receipt.token))
                                  .run();
    if (held == 0) lost.push_back(receipt);
  }
  transaction.commit();
  stale_ += lost.size();
  std::move(lost.begin(), lost.end(), std::back_inserter(lost_));
}

}  // namespace errand::sqlite
