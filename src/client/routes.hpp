#pragma once
// Where a call goes: its queue or exchange, its priority (celery-wire section 9.11). Pure.

#include <errand/client.hpp>

#include <string>

namespace errand::client {

/// Throws Error{invalid} unless it is 1 to 255 bytes without control characters.
void check_queue_name(const std::string& queue);

/// Fills in queue and priority of the call from routes and defaults where neither call nor task named them, and
/// returns the route. Throws Error{invalid} for a queue name that cannot be, and for a task that needs one and has
/// none.
Route route_call(Signature& call, const ClientOptions& options);

/// For a later step of a chain or a callback, which is sent by a worker: only what the client's configuration says
/// explicitly; otherwise the worker decides.
void route_later(Signature& call, const ClientOptions& options);

}  // namespace errand::client
