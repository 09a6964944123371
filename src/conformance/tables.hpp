#pragma once
// The parts of the two tables, one for each file of rows.

#include <errand/conformance.hpp>

namespace errand::conformance {

std::span<const BrokerCheck> fetch_rows();    // order, batches, deadlines, waking
std::span<const BrokerCheck> settle_rows();   // ack, requeue, park
std::span<const BrokerCheck> lease_rows();    // redelivery, leases, exclusiveness
std::span<const BrokerCheck> dead_rows();     // dead letters
std::span<const BrokerCheck> content_rows();  // what a message carries, sizes
std::span<const BrokerCheck> queue_rows();    // names, routes, purge, inspect, fairness
std::span<const BrokerCheck> commit_rows();   // outcomes of a batch in one step
std::span<const BrokerCheck> revoke_rows();   // revoked tasks
std::span<const BrokerCheck> fanout_rows();   // broadcasts
std::span<const BackendCheck> result_rows();  // records of tasks
std::span<const BackendCheck> group_rows();   // groups and chords

}  // namespace errand::conformance
