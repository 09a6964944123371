#include "worker/revoked.hpp"

#include <algorithm>

namespace errand::worker {

void RevokedIds::add(const TaskId& id, SteadyPoint now, Milliseconds keep) {
  if (const auto known = until_.find(id); known != until_.end()) {
    known->second = std::max(known->second, now + keep);
    return;
  }
  // What is over leaves from the front; what is over behind an id that is kept longer leaves with it.
  while (!order_.empty() && (until_.size() >= max_ids_ || until_.at(order_.front()) <= now)) {
    until_.erase(order_.front());
    order_.pop_front();
  }
  until_.emplace(id, now + keep);
  order_.push_back(id);
}

bool RevokedIds::contains(const TaskId& id, SteadyPoint now) const {
  const auto found = until_.find(id);
  return found != until_.end() && found->second > now;
}

}  // namespace errand::worker
