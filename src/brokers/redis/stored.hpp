#pragma once
// What stands in the tables beside a message that is handed out.

#include "brokers/redis/keys.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace errand::redis {

/// A value of the hash of leases: token|owner|list key. Lives as long as the text it was read from.
struct LeaseRecord {
  std::uint64_t token = 0;
  std::string_view list;  ///< "": the record is damaged
};
LeaseRecord parse_lease(std::string_view record) noexcept;

/// The queue that a list belongs to.
std::string_view queue_of_list(const Keys& keys, std::string_view list) noexcept;

/// The envelope in a value of `unacked`, without parsing it: a broken one must come back as well.
std::string_view stored_envelope(std::string_view stored, std::string_view queue);

/// The envelope with the tag its sender gave it, when fetch.lua had to give it one of its own: what goes back to a list
/// or to the dead letters has the sender's bytes.
std::string with_senders_tag(std::string_view envelope, std::string_view tag);

}  // namespace errand::redis
