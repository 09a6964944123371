#pragma once
// Cluster: everything that lives in one simulated world.

#include "testing/drivers.hpp"
#include "testing/ledger.hpp"
#include "testing/world.hpp"

#include <errand/testing.hpp>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace errand::testing {

class Node;
class Producer;

struct Cluster {
  Cluster(const Registry& registry, SimulationOptions options);
  ~Cluster();

  // Steps at the store, as one process takes them.
  void publish(Process& process, std::span<const Envelope> envelopes);
  void put(Process& process, std::span<const TaskResult> results);
  /// Returns the places of those that came too late.
  std::vector<std::uint32_t> settle(Process& process, std::span<const Settlement> settlements);
  /// Writes into the message which delivery it is, for the ledger. A property that only simulations have.
  void mark(Delivery& delivery);
  /// Tells every consumer that something is on a queue.
  void news();

  /// The store's clock: the server's own, or for a file that of the machine.
  TimePoint server_time(const Process& process) const;
  bool away() const noexcept { return away_until > world.now(); }
  bool overloaded() const noexcept { return overloaded_until > world.now(); }
  bool faulty(Fault fault) const noexcept { return faults_on && (options.faults & bit(fault)) != 0; }
  void inject(Fault fault, std::string_view where);

  const Registry& registry;
  SimulationOptions options;
  World world;
  StoreModel store;
  ResultsModel results;
  Ledger ledger;
  std::shared_ptr<Host> machine;        ///< of everybody, when the store is a file on it
  std::vector<SimConsumer*> consumers;  ///< in the order in which they came: addresses are no order
  std::set<std::string> dead_owners;    ///< whose process is known to be gone
  std::vector<std::unique_ptr<Node>> nodes;
  std::unique_ptr<Producer> producer;
  SteadyPoint away_until{}, overloaded_until{};
  Milliseconds visibility{90'000};  ///< kombu's, for what Python workers hold
  bool faults_on = false;
  std::uint64_t incarnations = 0;
};

}  // namespace errand::testing
