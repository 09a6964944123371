#pragma once
// A task's record on the screen, the same for `errand send --wait` and `errand result`.

#include "cli/context.hpp"

#include <errand/result_backend.hpp>

#include <optional>
#include <string>

namespace errand::cli {

/// Prints and returns the exit code: 0 succeeded (or, without waiting, any state), 1 failed, revoked or not ready in
/// time. `task` may be empty. `late`: it was waited for and is not ready.
int show_result(Context& context, const TaskId& id, const std::string& task, const std::optional<TaskResult>& record,
                bool late);

}  // namespace errand::cli
