#pragma once
// Bulk: hundreds of thousands of small tasks with ids by number, and the judge that counts them by set of ids in
// little memory.

#include "chaos/flags.hpp"
#include "chaos/ledger.hpp"

#include <errand/errand.hpp>

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::chaos {

/// Id of a bulk task: run.producer.number.
struct BulkId {
  std::uint32_t producer = 0;
  std::uint32_t number = 0;
};
std::string bulk_id(std::string_view run, BulkId id);
std::optional<BulkId> read_bulk_id(std::string_view run, std::string_view id);

/// Sends numbers 0 to count of one producer in batches. --run R --producer P --count N --batch N --seed S
/// [--nap PYTHON_MS --long-ms NATIVE_MS --long-percent N] [--eta-ms N] beside the connection's flags.
int run_bulk_sender(const Flags& flags);

void add_bulk_tasks(Registry& registry, Ledger& ledger);

/// While a worker's instance may have lost what it held, by its name: killed (for ever), stood still beyond the lease,
/// or, with the name "*", every worker, because the server was away.
struct Loss {
  std::int64_t from_us = 0;
  std::int64_t until_us = std::numeric_limits<std::int64_t>::max();
  std::string fault{};  ///< what it was
};
using Losses = std::multimap<std::string, Loss>;

struct BulkVerdict {
  std::uint64_t attempted = 0, acknowledged = 0, in_doubt = 0, executions = 0;
  std::uint64_t succeeded = 0;  ///< stored as SUCCESS
  std::uint64_t repeated = 0;   ///< began more than once, after a loss
  std::vector<std::string> lost, unexpected, stolen;
  std::int64_t most_begins = 0;
  std::map<std::string, std::vector<std::int64_t>>
      recoveries_us;                               ///< by fault: from it to the next beginning of what it took
  std::map<std::string, std::uint64_t> by_worker;  ///< executions by kind of worker: its name up to the first '-'
};

struct BulkQuestion {
  std::string run;
  std::vector<std::uint32_t> counts;  ///< of each producer
  std::string sent, effects;          ///< ledgers
  std::string results_url;
  TransportOptions transport;
  bool stored = true;  ///< results are stored and looked up
};
BulkVerdict judge_bulk(const BulkQuestion& question, const Losses& losses);

}  // namespace errand::chaos
