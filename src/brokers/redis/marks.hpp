#pragma once
// Marks: what is written into an envelope when it goes back to its queue unfinished, and taken out again.
//
// kombu marks a returned message in two places (headers.redelivered and delivery_info.redelivered). Errand counts
// deliveries, too, in a property of its own; nothing of it outlives the message, and Python ignores it. All marks
// stand first in their objects as fixed text, so that taking them out restores the sender's bytes.

#include <errand/message.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace errand::redis {

struct Marks {
  std::uint32_t deliveries = 0;    ///< times handed out before
  std::int64_t first_seen_us = 0;  ///< when it was first handed out; 0: not known
};

/// The envelope with these marks instead of those it had; as it is when it is no envelope.
std::string with_marks(std::string_view envelope, const Marks& marks);
/// Without any of our marks: what the sender wrote.
std::string without_marks(std::string_view envelope);
/// Reads the marks of a decoded message and removes them.
Marks take_marks(Object& properties);

}  // namespace errand::redis
