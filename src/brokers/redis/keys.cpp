#include "brokers/redis/keys.hpp"

#include "core/text.hpp"
#include "protocol/topic.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <utility>

namespace errand::redis {

namespace {
constexpr std::size_t kLongestQueueName = 255;
}  // namespace

Keys::Keys(std::string prefix, std::vector<int> priority_steps)
    : prefix_(std::move(prefix)), steps_(std::move(priority_steps)) {
  const bool ascending = std::adjacent_find(steps_.begin(), steps_.end(), std::greater_equal<>()) == steps_.end();
  if (steps_.empty() || steps_.front() != 0 || steps_.back() > 9 || !ascending) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "redis.options",
                 .subject = "priority_steps",
                 .detail = "expected ascending numbers from 0 to 9 that begin with 0, like 0, 3, 6, 9"});
  }
}

std::string Keys::list(std::string_view queue, int priority) const {
  return prefix_ + protocol::queue_key(queue, protocol::priority_step(priority, steps_));
}

std::vector<std::string> Keys::lists(std::string_view queue) const {
  std::vector<std::string> keys;
  keys.reserve(steps_.size());
  for (const int step : steps_) keys.push_back(list(queue, step));
  return keys;
}

std::string Keys::binding(std::string_view exchange) const { return prefix_ + protocol::binding_key(exchange); }

std::string Keys::channel(int database, std::string_view exchange, std::string_view routing_key) const {
  return prefix_ + protocol::fanout_channel(database, exchange, routing_key);
}

std::string Keys::pattern(int database, std::string_view exchange, std::string_view routing_key) const {
  return prefix_ + protocol::fanout_pattern(database, exchange, routing_key);
}

void check_queue_name(std::string_view name) {
  const bool controls =
      std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (!name.empty() && name.size() <= kLongestQueueName && !controls) return;
  throw Error({.kind = ErrorKind::invalid,
               .operation = "redis.queue",
               .subject = core::shorten(core::escape_controls(name), 80),
               .detail = "expected a queue name of 1 to 255 bytes without control characters, got " +
                         std::string(name.empty() ? "none"
                                     : controls   ? "one with control characters"
                                                  : "a longer one")});
}

}  // namespace errand::redis
