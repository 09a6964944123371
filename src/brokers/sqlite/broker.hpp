#pragma once
// SqliteBroker: queues in one file, shared by every process of the machine that opens it.

#include "wire/sqlite/store.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

namespace errand::sqlite {

std::unique_ptr<Broker> make_broker(std::string_view url, const TransportOptions& options);

class SqliteBroker final : public Broker {
 public:
  SqliteBroker(std::string path, TransportOptions options);

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
  Store store_;
  TransportOptions options_;
};

}  // namespace errand::sqlite
