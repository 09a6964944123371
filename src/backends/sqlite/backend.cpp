#include "backends/sqlite/backend.hpp"

#include "protocol/result_json.hpp"
#include "wire/sqlite/results.hpp"

namespace errand::sqlite {

std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options) {
  return std::make_unique<SqliteBackend>(path_of_url(url), options);
}

SqliteBackend::SqliteBackend(std::string path, TransportOptions options)
    : store_(std::move(path)), options_(std::move(options)) {}

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

// The last member may report before the size is known, so both look whether the chord is complete; `fired` makes it
// complete for one caller only.
ChordProgress SqliteBackend::chord_part_done(GroupIdView group, const ChordPart& part) {
  Database& database = store_.database();
  Transaction transaction(database);
  Query insert =
      database.query("INSERT OR IGNORE INTO chord_part (group_id, member, position, state, result) VALUES (?,?,?,?,?)");
  insert.bind(group).bind(part.id);
  if (part.index)
    insert.bind(*part.index);
  else
    insert.bind_null();
  insert.bind(part.state).bind(part.result_json).run();
  ChordProgress progress = chord_progress(database, group);
  transaction.commit();
  return progress;
}

ChordProgress SqliteBackend::chord_progress(Database& database, GroupIdView group) {
  ChordProgress progress;
  {
    Query query = database.query(
        "SELECT 1 FROM chord c WHERE c.group_id = ?1 AND c.fired = 0 AND c.size <= (SELECT count(*) FROM chord_part "
        "WHERE group_id = ?1)");
    query.bind(group);
    if (!query.step()) return progress;
  }
  database.query("UPDATE chord SET fired = 1 WHERE group_id = ?").bind(group).run();
  progress.complete = true;
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
  return progress;
}

void SqliteBackend::set_chord_size(GroupIdView group, std::size_t size) {
  store_.database()
      .query(
          "INSERT INTO chord (group_id, size) VALUES (?,?) ON CONFLICT (group_id) DO UPDATE SET size = excluded.size")
      .bind(group)
      .bind(static_cast<std::int64_t>(size))
      .run();
}

std::size_t SqliteBackend::expire(TimePoint older_than) {
  Database& database = store_.database();
  Transaction transaction(database);
  const std::int64_t limit = older_than.time_since_epoch().count();
  const std::int64_t gone =
      database.query("DELETE FROM result WHERE done_at IS NOT NULL AND done_at < ?").bind(limit).run();
  database.query("DELETE FROM task_group WHERE written_at < ?").bind(limit).run();
  transaction.commit();
  return static_cast<std::size_t>(gone);
}

}  // namespace errand::sqlite
