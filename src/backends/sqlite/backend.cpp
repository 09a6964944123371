#include "backends/sqlite/backend.hpp"

#include "protocol/result_json.hpp"
#include "wire/sqlite/results.hpp"

namespace errand::sqlite {

std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options) {
  return std::make_unique<SqliteBackend>(path_of_url(url), options);
}

SqliteBackend::SqliteBackend(std::string path, TransportOptions options)
    : store_(std::move(path), options.publish_timeout), options_(std::move(options)) {}

BackendTraits SqliteBackend::traits() const noexcept {
  BackendTraits traits;
  traits.name = "sqlite";
  traits.pushes = true;
  traits.durable = true;
  traits.chords = true;
  return traits;
}

void SqliteBackend::put(std::span<const TaskResult> results) {
  if (results.empty()) return;
  Database& database = store_.database();
  {
    Transaction transaction(database);
    write_results(database, results);
    sweep_.run(database, options_.result_expires);
    transaction.commit();
  }
  store_.announce(News::result);
}

std::optional<TaskResult> SqliteBackend::get(TaskIdView id) { return read_result(store_.database(), id); }

std::optional<TaskResult> SqliteBackend::wait(TaskIdView id, Deadline deadline) {
  Database& database = store_.database();
  if (!waiter_) waiter_ = std::make_unique<Waiter>(store_.path(), News::result);
  for (;;) {
    waiter_->clear();
    auto found = read_result(database, id);
    if (found && state::ready(found->state)) return found;
    if (deadline.passed()) return std::nullopt;
    waiter_->wait(deadline);
  }
}

void SqliteBackend::forget(TaskIdView id) { store_.database().query("DELETE FROM result WHERE id = ?").bind(id).run(); }

void SqliteBackend::put_group(GroupIdView group, std::span<const TaskId> members) {
  const std::string encoded = protocol::encode_group(group, members);
  store_.database()
      .query("INSERT OR REPLACE INTO task_group (id, members, written_at) VALUES (?,?,?)")
      .bind(group)
      .bind(encoded)
      .bind(now_us())
      .run();
}

std::optional<std::vector<TaskId>> SqliteBackend::get_group(GroupIdView group) {
  Query query = store_.database().query("SELECT members FROM task_group WHERE id = ?");
  query.bind(group);
  if (!query.step()) return std::nullopt;
  return protocol::read_group(query.text(0));
}

// The count stands beside the size, so that a chord of ten thousand is not counted ten thousand times.
ChordProgress SqliteBackend::chord_part_done(GroupIdView group, const ChordPart& part) {
  Database& database = store_.database();
  Transaction transaction(database);
  std::int64_t fresh = 0;
  {
    Query query = database.query(
        "INSERT OR IGNORE INTO chord_part (group_id, member, position, state, result) VALUES (?,?,?,?,?)");
    query.bind(group).bind(part.id);
    if (part.index)
      query.bind(*part.index);
    else
      query.bind_null();
    fresh = query.bind(part.state).bind(part.result_json).run();
  }
  database
      .query(
          "INSERT INTO chord (group_id, done, written_at) VALUES (?1, ?2, ?3)"
          " ON CONFLICT (group_id) DO UPDATE SET done = done + ?2, written_at = ?3")
      .bind(group)
      .bind(fresh)
      .bind(now_us())
      .run();
  database.query("UPDATE chord SET completed_by = ?2 WHERE group_id = ?1 AND completed_by IS NULL AND size <= done")
      .bind(group)
      .bind(part.id)
      .run();
  ChordProgress progress;
  {
    Query query = database.query("SELECT 1 FROM chord WHERE group_id = ? AND completed_by = ?");
    progress.complete = query.bind(group).bind(part.id).step();
  }
  if (progress.complete) read_parts(database, group, progress);
  transaction.commit();
  return progress;
}

void SqliteBackend::read_parts(Database& database, GroupIdView group, ChordProgress& progress) {
  Query parts = database.query(
      "SELECT member, state, result FROM chord_part WHERE group_id = ? ORDER BY position IS NULL, position, member");
  parts.bind(group);
  while (parts.step()) {
    if (parts.text(1) != state::success && progress.failed_member.empty()) {
      progress.failed_member = parts.text(0);
      progress.failure_json = parts.text(2);
    }
    progress.results.push_back(parts.text(2));
  }
}

void SqliteBackend::set_chord_size(GroupIdView group, std::size_t size) {
  store_.database()
      .query(
          "INSERT INTO chord (group_id, size, done, written_at) VALUES (?1, ?2, 0, ?3)"
          " ON CONFLICT (group_id) DO UPDATE SET size = ?2, written_at = ?3")
      .bind(group)
      .bind(static_cast<std::int64_t>(size))
      .bind(now_us())
      .run();
}

// In parts, so that a store with millions of records is not locked for seconds.
std::size_t SqliteBackend::expire(TimePoint older_than) {
  Database& database = store_.database();
  const std::int64_t before = older_than.time_since_epoch().count();
  std::size_t gone = 0;
  std::int64_t seen = 0;
  for (;;) {
    std::vector<std::int64_t> numbers;
    {
      Query query = database.query(
          "SELECT number FROM result WHERE number > ? AND done_at IS NOT NULL AND done_at < ? ORDER BY number LIMIT ?");
      query.bind(seen).bind(before).bind(Sweep::kAtOnce);
      while (query.step()) numbers.push_back(query.integer(0));
    }
    if (numbers.empty()) break;
    Transaction transaction(database);
    for (const std::int64_t number : numbers) {
      gone += static_cast<std::size_t>(
          database.query("DELETE FROM result WHERE number = ? AND done_at < ?").bind(number).bind(before).run());
    }
    transaction.commit();
    seen = numbers.back();
  }
  Transaction transaction(database);
  expire_groups(database, before);
  transaction.commit();
  return gone;
}

}  // namespace errand::sqlite
