#pragma once
// The pools by name.

#include <errand/pool.hpp>

#include <memory>
#include <string_view>

namespace errand {

/// "prefork", "threads" or "solo". Throws Error{invalid} naming the nearest for any other word.
std::unique_ptr<Pool> make_pool(std::string_view name, PoolOptions options);

}  // namespace errand
