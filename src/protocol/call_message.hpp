#pragma once
// call_message: one signature of a peer, applied: its options become headers, properties and embed of a new message
// (celery-wire section 1.4).

#include "protocol/body.hpp"

#include <errand/message.hpp>

#include <functional>
#include <string>
#include <string_view>

namespace errand::protocol {

/// What the one who applies a signature adds to it. Empty: nothing.
struct CallContext {
  TimePoint now{};
  std::string_view origin;
  std::string_view reply_to;  ///< when the signature has none
  std::string root_id;        ///< wins over the signature's own
  std::string parent_id;
  std::string first_arg;         ///< JSON put before the arguments, unless the signature is immutable
  Value first_value;             ///< the same, for people: parsed, or "..." when it is long
  int priority = -1;             ///< 0 to 9 wins over the signature's own; -1: its own
  const Array* chain = nullptr;  ///< wins over the signature's own; wire order
  std::function<Route(std::string_view task)> route;
  bool park = false;
};

/// The signature must be frozen (have a task_id). Throws DecodeFailure{BAD_BODY} naming the option that is wrong.
Envelope call_message(const Value& signature, const CallContext& context);

}  // namespace errand::protocol
