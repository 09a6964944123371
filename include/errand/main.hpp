#pragma once
// errand::main: the command line of `errand` with your own tasks in it.

#include <errand/registry.hpp>

namespace errand {

/// Runs the command in argv and returns the exit code: 0 done, 1 failed, 2 used wrongly, 78 wrong
/// configuration. Call it first thing in main(), before any thread or connection exists: pools fork.
int main(int argc, char** argv, Registry& registry);

}  // namespace errand
