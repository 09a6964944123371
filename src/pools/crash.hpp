#pragma once
// The child's side of a crash: signal handlers, std::terminate and exit() that leave a note in the shared page before
// the process goes. What they do is safe inside a signal handler; they run on a stack of their own.

#include "pools/page.hpp"

namespace errand::pools {

/// Loads what the unwinder needs, so that a handler loads nothing. Called once, before children are forked.
void prepare_backtraces();

/// From here on every crash of this process leaves its note in `page`. `last_act` runs after the note is written.
/// Processes that the task forks are not watched: they only look like this one.
void watch_for_crashes(ChildPage& page, void (*last_act)() noexcept);

}  // namespace errand::pools
