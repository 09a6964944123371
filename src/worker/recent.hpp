#pragma once
// What was taken lately, to tell two messages with one id apart (F121). Pure.

#include "worker/inputs.hpp"

#include <deque>
#include <string_view>
#include <unordered_map>

namespace errand::worker {

/// Remembers the last so many ids with what their bodies were. No store keeps bodies by id, so this is as far as one
/// worker can see: two such messages that go to different workers, or long after each other, are not recognised.
class RecentIds {
 public:
  explicit RecentIds(std::size_t most) : most_(most) {}

  /// The attempt that the message is was taken here with another body. The first one counts. An id that comes back for
  /// another task, or for a later attempt, is no conflict: Celery's `replace` and `retry` do that.
  bool conflicts(const Arrival& arrival);

 private:
  struct Entry {
    TaskId id;
    std::size_t task = 0, body = 0;  // hashes
    std::uint32_t retries = 0;
  };
  std::size_t most_;
  std::deque<Entry> entries_;  // in the order of arrival; addresses stay
  std::unordered_map<std::string_view, Entry*> by_id_;
};

}  // namespace errand::worker
