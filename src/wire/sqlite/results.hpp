#pragma once
// Rows of results: written by the backend, and by a consumer inside its own transaction.

#include "wire/sqlite/database.hpp"

#include <errand/result_backend.hpp>

namespace errand::sqlite {

/// Upserts inside the caller's transaction. A stored SUCCESS and records of a newer token stay.
void write_results(Database& database, std::span<const TaskResult> results);

/// Deletes what has expired a little at a time, inside transactions that write results anyway, so that the file does
/// not grow for ever and nobody has to clean it.
class Sweep {
 public:
  static constexpr std::int64_t kAtOnce = 1'000;
  /// Inside the caller's transaction; does nothing most of the time. keep 0: nothing expires.
  void run(Database& database, Milliseconds keep);

 private:
  SteadyPoint again_at_{};
  SteadyPoint groups_at_{};
};
/// Deletes groups and chords written before that. Inside the caller's transaction.
void expire_groups(Database& database, std::int64_t before_us);

std::optional<TaskResult> read_result(Database& database, TaskIdView id);

}  // namespace errand::sqlite
