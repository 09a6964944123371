// errand_chaos: the processes that the chaos tests start, and the soak (tests/chaos/README.md). Not installed.
#include "chaos/bulk.hpp"
#include "chaos/roles.hpp"
#include "chaos/soak.hpp"

#include <errand/errand.hpp>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  using namespace errand::chaos;
  const std::string role = argc > 1 ? argv[1] : "";
  try {
    if (role == "errand") {
      // The command line itself, with fail points.
      errand::Registry registry;
      return errand::main(argc - 1, argv + 1, registry);
    }
    const Flags flags(argc, argv, 2);
    if (role == "worker") return run_worker(flags);
    if (role == "sender") return run_sender(flags);
    if (role == "bulk-sender") return run_bulk_sender(flags);
    if (role == "soak") return soak_main(flags);
    std::fputs(
        "usage: errand_chaos soak --profile sqlite|redis|redis+celery --tasks N --faults kill,stop ... "
        "(tests/chaos/README.md)\n",
        stderr);
    return 2;
  } catch (const errand::Error& error) {
    std::fprintf(stderr, "errand_chaos: %s\n", error.what());
    return error.kind() == errand::ErrorKind::invalid ? 78 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "errand_chaos: %s\n", error.what());
    return 1;
  }
}
