#pragma once
// Whether the user of a connection may do all that a worker does.

#include "brokers/redis/keys.hpp"
#include "wire/redis/connection.hpp"

#include <span>

namespace errand::redis {

/// Throws Error{denied} naming commands and keys that the server's ACL refuses; nothing when it cannot say (before 7).
void require_rights(Connection& connection, const Keys& keys, std::span<const std::string> queues);

}  // namespace errand::redis
