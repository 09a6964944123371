#pragma once
// Every key name in one place: kombu's (kombu/transport/redis.py, celery-wire section 2.2) and our own, which all
// begin with "errand:" and are described in docs/protocol/redis.md.

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace errand::redis {

class Keys {
 public:
  Keys(std::string prefix, std::vector<int> priority_steps);

  /// The list of a queue for a priority step; step 0 is the plain name.
  std::string list(std::string_view queue, int step) const;
  /// All lists of a queue, most urgent first.
  std::vector<std::string> lists(std::string_view queue) const;
  /// The largest step at or below the priority, which is brought into 0 to 9 first.
  int step_of(int priority) const noexcept;
  const std::vector<int>& steps() const noexcept { return steps_; }

  std::string unacked() const { return prefix_ + "unacked"; }
  std::string unacked_index() const { return prefix_ + "unacked_index"; }
  std::string unacked_mutex() const { return prefix_ + "unacked_mutex"; }
  std::string binding(std::string_view exchange) const { return prefix_ + "_kombu.binding." + std::string(exchange); }
  /// Channel of a fanout exchange: /{db}.exchange or /{db}.exchange/key.
  std::string channel(int database, std::string_view exchange, std::string_view routing_key) const;

  std::string leases() const { return prefix_ + "errand:leases"; }      ///< hash: tag -> token|owner|list key
  std::string tokens() const { return prefix_ + "errand:token"; }       ///< counter
  std::string rubbish() const { return prefix_ + "errand:rubbish"; }    ///< hash: tag -> bytes that are no envelope
  std::string owner(std::string_view id) const { return prefix_ + "errand:owner:" + std::string(id); }  ///< heartbeat
  std::string owner_prefix() const { return prefix_ + "errand:owner:"; }
  std::string parked(std::string_view queue) const { return prefix_ + "errand:parked:" + std::string(queue); }  ///< sorted set by due time
  std::string queues() const { return prefix_ + "errand:queues"; }      ///< set of queue names that were declared or used
  std::string dead(std::string_view queue) const { return prefix_ + std::string(queue) + ".dead"; }  ///< hash: id -> record
  std::string dead_index(std::string_view queue) const { return dead(queue) + ".index"; }  ///< sorted set by time of death

 private:
  std::string prefix_;
  std::vector<int> steps_;
};

}  // namespace errand::redis
