// From what a worker is told to what its engine is told.
#include "worker/engine.hpp"

#include <errand/broker.hpp>

#include <algorithm>

namespace errand::worker {

EngineOptions engine_options(const WorkerOptions& o, const BrokerTraits& broker, bool has_results) {
  EngineOptions decides;
  decides.node_name = o.node_name;
  decides.concurrency = o.concurrency;
  decides.prefetch_multiplier = o.prefetch_multiplier;
  decides.time_limit = o.time_limit;
  decides.soft_time_limit = o.soft_time_limit;
  decides.limits = o.limits;
  decides.has_results = has_results;
  decides.result_extended = o.result_extended;
  decides.store_errors_even_if_ignored = o.store_errors_even_if_ignored;
  // Where Python workers share the queues their visibility timeout ends a lease as well.
  decides.lease = broker.foreign_readers && broker.lease ? std::min(o.lease, *broker.lease) : o.lease;
  decides.grace = o.grace;
  decides.hold_unstarted = o.hold_unstarted;
  decides.max_crashes = o.max_crashes;
  decides.max_deliveries = o.max_deliveries;
  decides.max_revoked = o.max_revoked;
  decides.revoked_for = o.revoked_for;
  return decides;
}

}  // namespace errand::worker
