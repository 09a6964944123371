#pragma once
// Signatures on the wire: the object {"task", "args", "kwargs", "options", "subtask_type", "immutable"}
// (celery-wire section 1.4), as it stands in embed, in chord bodies and in arguments.

#include "protocol/body.hpp"

#include <errand/signature.hpp>

#include <cstddef>
#include <string>

namespace errand::protocol {

/// A call as the signature object. Its chain, if any, goes into options.chain, reversed as everywhere on the wire.
Value signature_to_json(const Signature& call);

/// What is to follow a call: link, link_error and chain in their wire form. Nested chains are flattened in the order
/// they run. Throws Error{invalid} beyond kMaxLinks.
Embed embed_of(const Signature& call);

/// Gives an id to the call and to every step of its chain that has none, so that their results can be waited for and
/// a failure can be stored for all that will never run. Returns the id of the last step: the result of the whole.
TaskId freeze(Signature& call);

/// A signature object as a call.
struct ReadSignature {
  Signature call;
  Object other_options;      ///< options Errand has no field for (stamps among them), as they came
  std::string subtask_type;  ///< "chain", "group", "chord", ... or ""
};
/// Throws DecodeFailure{BAD_BODY} naming the field. A `celery.chain` becomes its first step with the rest as chain;
/// group and chord keep their members in kwargs.
ReadSignature signature_from_json(const Value& value);

}  // namespace errand::protocol
