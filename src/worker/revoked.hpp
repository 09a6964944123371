#pragma once
// The ids that must not run: bounded in number and age. Pure.

#include "worker/inputs.hpp"

#include <deque>
#include <unordered_map>

namespace errand::worker {

/// At the limit the oldest id is forgotten first, as Celery's LimitedSet does (50 000 ids, 3 hours).
class RevokedIds {
 public:
  RevokedIds(std::size_t max_ids, Milliseconds keep) : max_ids_(max_ids), keep_(keep) {}
  void add(const TaskId& id, SteadyPoint now) { add(id, now, keep_); }
  /// The longer time counts when the id is known already.
  void add(const TaskId& id, SteadyPoint now, Milliseconds keep);
  bool contains(const TaskId& id, SteadyPoint now) const;
  std::size_t size() const noexcept { return until_.size(); }

 private:
  std::size_t max_ids_;
  Milliseconds keep_;
  std::deque<TaskId> order_;
  std::unordered_map<TaskId, SteadyPoint> until_;
};

}  // namespace errand::worker
