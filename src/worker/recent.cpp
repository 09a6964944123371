#include "worker/recent.hpp"

#include <functional>

namespace errand::worker {

namespace {
// Of a large body only the ends are looked at.
constexpr std::size_t kEnd = 32u << 10;

std::size_t hash_of(std::string_view body) {
  const std::hash<std::string_view> hash;
  if (body.size() <= 2 * kEnd) return hash(body);
  return hash(body.substr(0, kEnd)) * 31 + hash(body.substr(body.size() - kEnd)) * 17 + body.size();
}
}  // namespace

bool RecentIds::conflicts(const Arrival& arrival) {
  if (arrival.message == nullptr) return false;
  const std::size_t body = hash_of(arrival.message->body), task = std::hash<std::string>{}(arrival.task);
  if (const auto found = by_id_.find(arrival.id); found != by_id_.end()) {
    Entry& known = *found->second;
    if (known.task == task && known.retries == arrival.retries) return known.body != body;
    known.task = task;
    known.body = body;
    known.retries = arrival.retries;
    return false;
  }
  if (entries_.size() >= most_) {
    by_id_.erase(entries_.front().id);
    entries_.pop_front();
  }
  Entry& entry = entries_.emplace_back(Entry{arrival.id, task, body, arrival.retries});
  by_id_.emplace(entry.id, &entry);
  return false;
}

}  // namespace errand::worker
