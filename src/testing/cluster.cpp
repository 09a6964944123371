#include "testing/cluster.hpp"

#include "testing/node.hpp"
#include "testing/producer.hpp"

namespace errand::testing {

Cluster::Cluster(const Registry& tasks, SimulationOptions chosen)
    : registry(tasks),
      options(std::move(chosen)),
      world(options.seed),
      store(options.store == Store::sqlite ? Flavour::sqlite : Flavour::redis, world.wall()),
      results(options.store == Store::redis ? Flavour::redis : Flavour::sqlite),
      ledger(*this),
      machine(std::make_shared<Host>(world)) {
  store.watcher = &ledger;
  results.watcher = &ledger;
  producer = std::make_unique<Producer>(*this);
}

Cluster::~Cluster() {
  // Fibers are unwound while what they refer to still is there.
  for (const auto& node : nodes) node->shut_down();
  producer->shut_down();
}

void Cluster::publish(Process& process, std::span<const Envelope> envelopes) {
  if (envelopes.empty()) return;
  ledger.publishing(process, envelopes);
  store.publish(envelopes, server_time(process));
  news();
}

void Cluster::put(Process& process, std::span<const TaskResult> batch) {
  ledger.writer = &process;
  for (const TaskResult& result : batch) results.put(result);
  ledger.writer = nullptr;
}

std::vector<std::uint32_t> Cluster::settle(Process& process, std::span<const Settlement> settlements) {
  if (settlements.empty()) return {};
  std::vector<std::uint32_t> late = store.settle(process.owner, settlements, server_time(process));
  for (const Settlement& settlement : settlements) {
    if (settlement.kind == Settlement::Kind::ack) continue;
    news();
    break;
  }
  return late;
}

void Cluster::mark(Delivery& delivery) {
  delivery.message.properties.set(std::string(kDeliveryMark),
                                  delivery.receipt.id + "/" + std::to_string(delivery.receipt.token));
}

void Cluster::news() {
  for (SimConsumer* consumer : consumers) consumer->look();
}

TimePoint Cluster::server_time(const Process&) const {
  return options.store == Store::sqlite ? machine->now() : world.wall();
}

void Cluster::inject(Fault fault, std::string_view where) {
  const std::string name = "fault." + std::string(to_string(fault));
  world.count(name);
  world.note(where, name);
}

}  // namespace errand::testing
