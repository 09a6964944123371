#include "worker/revoked.hpp"

namespace errand::worker {

void RevokedIds::add(const TaskId& id, SteadyPoint now) {
  drop_old(now);
  if (!ids_.insert(id).second) return;
  order_.emplace_back(now, id);
  while (ids_.size() > max_ids_) {
    ids_.erase(order_.front().second);
    order_.pop_front();
  }
}

bool RevokedIds::contains(const TaskId& id, SteadyPoint now) {
  drop_old(now);
  return ids_.count(id) > 0;
}

void RevokedIds::drop_old(SteadyPoint now) {
  while (!order_.empty() && order_.front().first + keep_ <= now) {
    ids_.erase(order_.front().second);
    order_.pop_front();
  }
}

}  // namespace errand::worker
