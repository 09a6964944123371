#pragma once
// The tasks every Celery worker knows without registering them (celery-wire section 6.8).

#include <errand/registry.hpp>

#include <string_view>

namespace errand::pools {

bool is_builtin(std::string_view task) noexcept;
/// Runs it. Throws what its inner task throws.
Value run_builtin(std::string_view task, const Registry& registry, TaskContext& context, const Array& args,
                  const Object& kwargs);

}  // namespace errand::pools
