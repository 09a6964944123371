#pragma once
// The ids that must not run: bounded in number and age. Pure.

#include "worker/inputs.hpp"

#include <deque>
#include <unordered_set>

namespace errand::worker {

/// At the limit the oldest id is forgotten first, as Celery's LimitedSet does (50 000 ids, 3 hours).
class RevokedIds {
 public:
  RevokedIds(std::size_t max_ids, Milliseconds keep) : max_ids_(max_ids), keep_(keep) {}
  void add(const TaskId& id, SteadyPoint now);
  bool contains(const TaskId& id, SteadyPoint now);
  std::size_t size() const noexcept { return ids_.size(); }

 private:
  void drop_old(SteadyPoint now);
  std::size_t max_ids_;
  Milliseconds keep_;
  std::deque<std::pair<SteadyPoint, TaskId>> order_;
  std::unordered_set<TaskId> ids_;
};

}  // namespace errand::worker
