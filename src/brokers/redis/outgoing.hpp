#pragma once
// Outgoing: which lists and parked sets a batch of envelopes goes to, as writes that a broker or a consumer sends.

#include "brokers/redis/keys.hpp"

#include <errand/broker.hpp>

#include <span>
#include <vector>

namespace errand::redis {

/// Throws Error{invalid} before anything is sent when a message is over the limit.
void check_sizes(std::span<const Envelope> envelopes, std::size_t limit);

/// One write for every copy, in order, each with a delivery tag of its own. Asks the server for the bindings of named
/// exchanges. Throws Error{not_found} when an exchange has no queue for a routing key, {invalid} for a bad queue name.
/// `of`, if given, gets the place of each write's envelope; what is parked is put off by `doubt` of the server's clock.
std::vector<Write> writes_of(std::span<const Envelope> envelopes, const Keys& keys, Connection& connection,
                             std::vector<std::size_t>* of = nullptr, Microseconds doubt = {});

/// Entry of a queue's parked messages, for a write of kind add_scored.
Write parked_write(const Keys& keys, std::string_view queue, std::string_view list, std::string_view unique,
                   std::string_view envelope, TimePoint due);

/// Queues of an exchange for a routing key; bindings are as kombu keeps them.
std::vector<std::string> bound_queues(const Route& route, std::span<const Reply> bindings);

}  // namespace errand::redis
