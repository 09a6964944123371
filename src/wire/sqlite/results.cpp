#include "wire/sqlite/results.hpp"

#include "wire/sqlite/store.hpp"

namespace errand::sqlite {

void write_results(Database& database, std::span<const TaskResult> results) {
  const std::int64_t now = now_us();
  for (const TaskResult& result : results) {
    Query query = database.query(
        "INSERT INTO result (id, state, result, traceback, children, done_at, group_id, parent_id, token, retries, "
        "extended,"
        " name, args, kwargs, worker, queue, written_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, result = excluded.result, traceback = "
        "excluded.traceback,"
        " children = excluded.children, done_at = excluded.done_at, group_id = excluded.group_id, parent_id = "
        "excluded.parent_id,"
        " token = excluded.token, retries = excluded.retries, extended = excluded.extended, name = excluded.name,"
        " args = excluded.args, kwargs = excluded.kwargs, worker = excluded.worker, queue = excluded.queue,"
        " written_at = excluded.written_at WHERE result.state <> 'SUCCESS' AND excluded.token >= result.token");
    static const TaskResult::Extended kNone;
    const TaskResult::Extended& extended = result.extended ? *result.extended : kNone;
    query.bind(result.id).bind(result.state).bind(result.result_json).bind(result.traceback).bind(result.children_json);
    if (result.done_at)
      query.bind(result.done_at->time_since_epoch().count());
    else
      query.bind_null();
    query.bind(result.group_id)
        .bind(result.parent_id)
        .bind(static_cast<std::int64_t>(result.token))
        .bind(static_cast<std::int64_t>(result.retries))
        .bind(result.extended ? std::int64_t{1} : std::int64_t{0})
        .bind(extended.name)
        .bind(extended.args_json)
        .bind(extended.kwargs_json)
        .bind(extended.worker)
        .bind(extended.queue)
        .bind(now);
    query.run();
  }
}

void Sweep::run(Database& database, Milliseconds keep) {
  constexpr std::chrono::seconds kEvery{1}, kGroupsEvery{600};
  const SteadyPoint now = std::chrono::steady_clock::now();
  if (keep <= Milliseconds{0} || now < again_at_) return;
  again_at_ = now + kEvery;
  const std::int64_t before = now_us() - std::chrono::duration_cast<Microseconds>(keep).count();
  database
      .query(
          "DELETE FROM result WHERE number IN (SELECT number FROM result WHERE written_at < ? ORDER BY written_at "
          "LIMIT ?)")
      .bind(before)
      .bind(kAtOnce)
      .run();
  if (now < groups_at_) return;
  groups_at_ = now + kGroupsEvery;
  expire_groups(database, before);
}

void expire_groups(Database& database, std::int64_t before_us) {
  database.query("DELETE FROM task_group WHERE written_at < ?").bind(before_us).run();
  database.query("DELETE FROM chord_part WHERE group_id IN (SELECT group_id FROM chord WHERE written_at < ?)")
      .bind(before_us)
      .run();
  database.query("DELETE FROM chord WHERE written_at < ?").bind(before_us).run();
}

std::optional<TaskResult> read_result(Database& database, TaskIdView id) {
  Query query = database.query(
      "SELECT state, result, traceback, children, done_at, group_id, parent_id, token, retries, extended, name, args, "
      "kwargs,"
      " worker, queue FROM result WHERE id = ?");
  query.bind(id);
  if (!query.step()) return std::nullopt;
  TaskResult result;
  result.id = std::string(id);
  result.state = query.text(0);
  result.result_json = query.text(1);
  result.traceback = query.text(2);
  result.children_json = query.text(3);
  if (!query.is_null(4)) result.done_at = TimePoint{Microseconds{query.integer(4)}};
  result.group_id = query.text(5);
  result.parent_id = query.text(6);
  result.token = static_cast<std::uint64_t>(query.integer(7));
  result.retries = static_cast<std::uint32_t>(query.integer(8));
  if (query.integer(9) != 0) {
    result.extended =
        TaskResult::Extended{query.text(10), query.text(11), query.text(12), query.text(13), query.text(14)};
  }
  return result;
}

}  // namespace errand::sqlite
