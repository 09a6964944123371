#pragma once
// MemoryBroker: queues inside this process, for tests and programs that need no other process. Brokers of the same
// name share one store and may be used by different threads; a forked child has a copy of its own.

#include "brokers/memory/store.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

namespace errand::memory {

/// memory://name; "memory://" is the store without a name.
std::unique_ptr<Broker> make_broker(std::string_view url, const TransportOptions& options);

class MemoryBroker final : public Broker {
 public:
  MemoryBroker(std::shared_ptr<Store> store, const TransportOptions& options);

  BrokerTraits traits() const noexcept override;
  void declare(const Topology& topology) override;
  void publish(std::span<const Envelope> envelopes) override;
  std::unique_ptr<Consumer> consume(const ConsumeOptions& options) override;
  std::unique_ptr<Consumer> subscribe(const Route& pattern) override;
  void broadcast(const Envelope& envelope) override;
  QueueInfo inspect(std::string_view queue) override;
  std::vector<std::string> queues() override;
  std::size_t purge(std::string_view queue) override;
  void revoke(std::span<const TaskId> ids) override;
  std::vector<DeadLetter> dead_letters(std::string_view queue, std::size_t limit, std::string_view after) override;
  std::size_t requeue_dead(std::string_view queue, std::span<const std::string> ids) override;
  std::size_t drop_dead(std::string_view queue, std::span<const std::string> ids) override;

 private:
  std::shared_ptr<Store> store_;
  std::size_t max_message_bytes_;
  std::size_t max_dead_letters_;
  Milliseconds revoke_expires_;
};

}  // namespace errand::memory
