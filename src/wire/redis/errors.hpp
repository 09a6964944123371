#pragma once
// What a Redis error answer means for the caller: one of Errand's kinds, with the server's own word as code.

#include "wire/redis/reply.hpp"

#include <errand/error.hpp>

#include <span>
#include <string_view>

namespace errand::redis {

/// NOAUTH, WRONGPASS, NOPERM: denied, with the command that is missing. LOADING, READONLY, MASTERDOWN: unavailable.
/// OOM, MISCONF, BUSY: overloaded. WRONGTYPE: conflict. NOSCRIPT and others: invalid. Nothing was done in any case,
/// except by commands of the same pipeline before it.
Error error_of(const Reply& reply, std::string_view operation);

/// Throws it when the reply is an error.
void require(const Reply& reply, std::string_view operation);
void require_all(std::span<const Reply> replies, std::string_view operation);

}  // namespace errand::redis
