#pragma once
// What errand_chaos is when it is not the one that watches: a worker or a sender, in a process of its own.

#include "chaos/flags.hpp"

namespace errand::chaos {

/// --broker URL --results URL --prefix P --folder DIR --name WHO [--lease MS] [--visibility MS] [-pool P]
/// [--concurrency N]. Writes DIR/effects.
int run_worker(const Flags& flags);
/// --broker URL --results URL --prefix P --folder DIR --name WHO --run NAME [--plain N]. Sends the workload that
/// `run` names, but not what DIR/sent says was acknowledged. Writes DIR/sent.
int run_sender(const Flags& flags);

}  // namespace errand::chaos
