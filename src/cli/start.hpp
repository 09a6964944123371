#pragma once
// What `errand worker` and `errand up` share: from settings to a running worker.

#include "cli/context.hpp"

namespace errand::cli {

/// The program's tasks with the options that the configuration changes, and the tasks that are programs. Throws
/// ConfigError for sections that name no task.
Registry effective_registry(const Registry& own, const config::Settings& settings);

/// Runs a worker until it is told to stop. Returns its exit code.
int run_worker(Context& context);

}  // namespace errand::cli
