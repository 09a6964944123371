#pragma once
// The soak: many tasks through one store while a nemesis kills, stops and starves workers and servers, then a drain and
// the judge. See tests/chaos/README.md.

#include "chaos/bulk.hpp"
#include "chaos/flags.hpp"

#include <errand/value.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace errand::chaos {

struct SoakOptions {
  std::string profile = "sqlite";  ///< sqlite, redis, redis+celery
  std::uint32_t tasks = 10'000;
  std::uint32_t producers = 1;
  std::uint32_t workers = 2;      ///< native ones
  std::uint32_t python = 0;       ///< Celery workers on the same queue
  std::uint32_t concurrency = 2;  ///< of each worker
  std::uint64_t seed = 1;
  std::vector<std::string> faults;  ///< kill, stop, server, clients, disk
  long every_ms = 2'000;            ///< between two faults
  long lease_ms = 10'000;
  long visibility_ms = 3'600'000;
  long nap_ms = -1;  ///< tasks that take time; -1: none
  long long_ms = 0;  ///< for a share of them, on native workers
  long long_percent = 0;
  long eta_ms = 0;  ///< all tasks wait that long first
  long sender_pause_ms = 0;
  long heal_after_ms = 0;   ///< no more faults after that; 0: until the queue is empty
  long drain_ms = 180'000;  ///< longest wait after the last fault
  std::string folder;       ///< "": a temporary one, deleted at the end
  std::string pool = "prefork";
  std::string report, ledger;  ///< files; "": none
  std::string commit;
  long flat_percent = 0;  ///< resident memory of the first worker may grow by this after warm-up; 0: not checked
  bool results = true;
};

SoakOptions soak_options(const Flags& flags);

/// Runs it; the report as JSON. `breaks` in it is empty when every invariant held.
Object run_soak(const SoakOptions& options);

/// Exit code 0: every invariant held.
int soak_main(const Flags& flags);

}  // namespace errand::chaos
