#pragma once
// Every key name in one place: kombu's (kombu/transport/redis.py, celery-wire section 2.2) and our own, which all
// begin with "errand:" and are described in docs/protocol/redis.md.

#include "wire/redis/settle_call.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace errand::redis {

class Keys {
 public:
  /// Throws Error{invalid} unless the steps are ascending, within 0 to 9, and begin with 0.
  Keys(std::string prefix, std::vector<int> priority_steps);

  /// The list of a queue that holds messages of this priority; step 0 is the plain name.
  std::string list(std::string_view queue, int priority) const;
  /// All lists of a queue, most urgent first.
  std::vector<std::string> lists(std::string_view queue) const;
  std::size_t step_count() const noexcept { return steps_.size(); }
  const std::string& prefix() const noexcept { return prefix_; }

  // kombu's
  std::string unacked() const { return prefix_ + "unacked"; }
  std::string unacked_index() const { return prefix_ + "unacked_index"; }
  std::string unacked_mutex() const { return prefix_ + "unacked_mutex"; }
  std::string binding(std::string_view exchange) const;
  std::string channel(int database, std::string_view exchange, std::string_view routing_key) const;
  std::string pattern(int database, std::string_view exchange, std::string_view routing_key) const;

  // Ours
  std::string leases() const { return own("leases"); }            ///< hash: tag -> token|owner|list key
  std::string lease_index() const { return own("lease-index"); }  ///< sorted set: tag by end of its lease in us
  std::string held() const { return own("held"); }                ///< hash: tag -> bytes that are no envelope
  std::string token() const { return own("token"); }              ///< the last token given
  std::string owners() const { return own("owners"); }            ///< sorted set: owner by end of its heartbeat in us
  std::string sweep() const { return own("sweep"); }              ///< lock: whose turn it was to look for ended leases
  std::string epoch() const { return own("epoch"); }              ///< random; another one when the data were lost
  std::string revoked() const { return own("revoked"); }  ///< sorted set: task id by time of its revocation in us
  std::string queues() const { return own("queues"); }    ///< set of declared queues
  std::string parked(std::string_view queue) const { return own("parked:") + std::string(queue); }
  std::string dead(std::string_view queue) const { return own("dead:") + std::string(queue); }
  std::string dead_index(std::string_view queue) const { return own("dead-index:") + std::string(queue); }

  SettleKeys settle_keys() const { return {unacked(), unacked_index(), leases(), lease_index(), held(), epoch()}; }

 private:
  std::string own(std::string_view name) const { return prefix_ + "errand:" + std::string(name); }
  std::string prefix_;
  std::vector<int> steps_;
};

/// Throws Error{invalid} for names that cannot stand in keys and records.
void check_queue_name(std::string_view name);

}  // namespace errand::redis
