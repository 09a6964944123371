#pragma once
// What a call must be before a byte of it is sent (faults F008 to F010, CP-2, CP-4).

#include <errand/client.hpp>

namespace errand::client {

/// Checks the call, and with it its chain, callbacks and errbacks; marks arguments that the catalogue calls secret.
/// Throws Error{invalid}.
void check_signature(Signature& call, const ClientOptions& options);

/// The message of one call, frozen and routed. Throws Error{invalid} with the path of a value that has no JSON form,
/// and for a message over the limits.
Message encode_call(const Signature& call, const ClientOptions& options, const BrokerTraits& traits, TimePoint now);

}  // namespace errand::client
