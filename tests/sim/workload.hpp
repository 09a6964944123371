#pragma once
// Worlds of the campaign: tasks of every temper, and what a seed makes of them.

#include <errand/registry.hpp>
#include <errand/testing.hpp>

#include <cstdint>

namespace sim {

/// The tasks that simulated workers run: quick, slow, failing, retrying, crashing, early acknowledged, limited,
/// chained.
errand::Registry registry();

/// What a seed stands for: number of workers, store, faults, options.
errand::testing::SimulationOptions options_of(std::uint64_t seed, errand::testing::Faults allowed);

/// Sends a seed's tasks, now and later. At most `tasks` of them, so that a failing seed can be shrunk.
void send_workload(errand::testing::Simulation& simulation, std::uint64_t seed, std::size_t tasks);

}  // namespace sim
