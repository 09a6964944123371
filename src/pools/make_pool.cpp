#include "pools/make_pool.hpp"

#include "core/text.hpp"
#include "pools/prefork.hpp"
#include "pools/threads.hpp"

#include <errand/error.hpp>

namespace errand {

std::unique_ptr<Pool> make_pool(std::string_view name, PoolOptions options) {
  if (name == "prefork") return std::make_unique<pools::PreforkPool>(std::move(options));
  if (name == "threads") return std::make_unique<pools::ThreadPool>(std::move(options), "threads");
  if (name == "solo") {
    options.concurrency = 1;
    return std::make_unique<pools::ThreadPool>(std::move(options), "solo");
  }
  const std::string_view nearest = core::nearest_word(name, {"prefork", "threads", "solo"});
  throw Error({.kind = ErrorKind::invalid,
               .operation = "pool",
               .subject = std::string(name),
               .detail = "expected prefork, threads or solo" +
                         (nearest.empty() ? std::string() : "; did you mean " + std::string(nearest) + "?")});
}

}  // namespace errand
