#pragma once
// Protocol 1: read, never written (celery-wire section 1.10).
//
// Headers are empty and the body is one object with everything in it. "Hybrid" messages have protocol 2 headers and
// such a body; their headers win.

#include <errand/message.hpp>

namespace errand::protocol {

/// True when the message has no `task` header, or its body is an object (as far as that shows without unpacking).
bool is_protocol1(const Message& message) noexcept;

/// The same task as protocol 2: complete headers, body [args, kwargs, embed] without compression. Throws
/// DecodeFailure: NOT_A_TASK when the body names none, and what Body throws.
Message upgrade_protocol1(const Message& message);

}  // namespace errand::protocol
