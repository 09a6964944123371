#include "brokers/redis/keys.hpp"

#include "protocol/topic.hpp"

#include <algorithm>

namespace errand::redis {

Keys::Keys(std::string prefix, std::vector<int> priority_steps) : prefix_(std::move(prefix)), steps_(std::move(priority_steps)) {
  if (steps_.empty()) steps_ = {0};
}

std::string Keys::list(std::string_view queue, int step) const {
  std::string key = prefix_ + std::string(queue);
  if (step != 0) key += std::string(protocol::kSeparator) + std::to_string(step);
  return key;
}

std::vector<std::string> Keys::lists(std::string_view queue) const {
  std::vector<std::string> keys;
  for (const int step : steps_) keys.push_back(list(queue, step));
  return keys;
}

int Keys::step_of(int priority) const noexcept {
  const int inside = std::clamp(priority, 0, 9);
  int found = steps_.front();
  for (const int step : steps_) {
    if (step <= inside) found = step;
  }
  return found;
}

std::string Keys::channel(int database, std::string_view exchange, std::string_view routing_key) const {
  std::string name = prefix_ + "/" + std::to_string(database) + "." + std::string(exchange);
  if (!routing_key.empty()) name += "/" + std::string(routing_key);
  return name;
}

}  // namespace errand::redis
