#pragma once
// What a worker tells people: one structured event for each thing that happens to a task (GN-9: the same fields for
// success, retry and failure).

#include "worker/effects.hpp"

namespace errand::worker {

/// Whether the log's level lets the event through.
bool is_reported(Emit::What what) noexcept;

/// Logs the event: event name, task id, name, queue, attempt, duration from the monotonic clock, detail.
void report(const Emit& event);

/// Logs the end of a pool's process (status as of wait(2)) with the task it took along, if any (GN-10).
void report_process_end(int pid, int status, std::string_view task_id, std::string_view task);

}  // namespace errand::worker
