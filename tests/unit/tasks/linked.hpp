#pragma once
// A task whose function is registered by a Linked object in another translation unit.

#include <errand/task.hpp>

inline constexpr errand::Task<int(int)> linked_elsewhere{"linked.elsewhere", {"x"}, {.queue = "far"}};
