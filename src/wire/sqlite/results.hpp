#pragma once
// Rows of results: written by the backend, and by a consumer inside its own transaction.

#include "wire/sqlite/database.hpp"

#include <errand/result_backend.hpp>

namespace errand::sqlite {

/// Upserts inside the caller's transaction. A stored SUCCESS and records of a newer token stay.
void write_results(Database& database, std::span<const TaskResult> results);
std::optional<TaskResult> read_result(Database& database, TaskIdView id);

}  // namespace errand::sqlite
