#include "brokers/sqlite/subscriber.hpp"

#include "brokers/sqlite/rows.hpp"
#include "protocol/topic.hpp"

namespace errand::sqlite {

SqliteSubscriber::SqliteSubscriber(std::string path, Route pattern)
    : store_(std::move(path)), pattern_(std::move(pattern)), waiter_(store_.path(), News::queue) {
  Query query =
      store_.database().query("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'broadcast'), 0)");
  if (query.step()) seen_ = query.integer(0);
}

std::span<Delivery> SqliteSubscriber::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  for (;;) {
    waiter_.clear();
    if (max > 0) look(max);
    if (!deliveries_.empty() || waiter_.take_wake() || deadline.passed()) return deliveries_;
    waiter_.wait(deadline);
  }
}

void SqliteSubscriber::look(std::size_t max) {
  Query query = store_.database().query(
      "SELECT id, routing_key, meta, body FROM broadcast WHERE id > ? AND exchange = ? ORDER BY id LIMIT ?");
  query.bind(seen_).bind(pattern_.exchange).bind(static_cast<std::int64_t>(max));
  while (query.step()) {
    seen_ = query.integer(0);
    const std::string key = query.text(1);
    if (!pattern_.routing_key.empty() && !protocol::topic_matches(pattern_.routing_key, key)) continue;
    Delivery& delivery = deliveries_.emplace_back();
    delivery.receipt.id = std::to_string(seen_);
    delivery.message.body = query.blob(3);
    try {
      decode_meta(query.text(2), delivery.message, delivery.route);
    } catch (const Error& error) {
      delivery.defect = error.what();
    }
  }
}

}  // namespace errand::sqlite
