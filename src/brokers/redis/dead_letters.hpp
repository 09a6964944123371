#pragma once
// Dead letters: how one is kept. A record is our facts as JSON, a line end, the list it came from, a line end, and the
// sender's bytes as they were.

#include "brokers/redis/marks.hpp"
#include "wire/redis/settle_call.hpp"

#include <errand/broker.hpp>

#include <string>
#include <string_view>

namespace errand::redis {

/// Most bytes of a reason's detail that are kept.
inline constexpr std::size_t kMostDeadDetail = 2'000;

std::string encode_dead(const Settlement& settlement, const Marks& marks, TimePoint now, std::string_view list,
                        std::string_view envelope);
/// Task and id are read from the bytes, if they can be. A record that is not ours has only its bytes.
DeadLetter decode_dead(std::string_view queue, std::string_view id, std::string_view record);

}  // namespace errand::redis
