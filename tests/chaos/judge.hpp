#pragma once
// The judge: compares what was sent, what ran and what is stored, by sets of ids, and names every broken invariant
// (I1 to I26 of docs/failpoints.md).

#include "chaos/workload.hpp"

#include <errand/broker.hpp>
#include <errand/result_backend.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace errand::chaos {

/// What faults were injected, as far as they excuse anything.
struct Excuses {
  std::uint32_t repeats = 1;  ///< how often one attempt may run again
};

struct Verdict {
  std::vector<std::string> breaks;  ///< "I3 lost: <id>"
  std::size_t executions = 0;
  std::size_t repeated = 0;  ///< attempts that ran more than once
};

/// Ids that have not come to their end yet.
std::vector<std::string> unfinished(const Workload& workload, Broker& broker, ResultBackend& results);

/// After the drain. `sent`: the senders' ledger, `effects`: the tasks'.
Verdict judge(const Workload& workload, const std::string& sent, const std::string& effects, Broker& broker,
              ResultBackend& results, const Excuses& excuses);

}  // namespace errand::chaos
