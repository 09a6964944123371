#pragma once
// RedisBroker: kombu's lists and hashes, so that Celery's workers and ours share the same queues, with an atomic fetch,
// leases, parking and dead letters beside them (docs/protocol/redis.md).

#include "brokers/redis/keys.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

#include <set>
#include <string>

namespace errand::redis {

std::unique_ptr<Broker> make_broker(std::string_view url, const TransportOptions& options);

class RedisBroker final : public Broker {
 public:
  RedisBroker(Url url, TransportOptions options);

  BrokerTraits traits() const noexcept override;
  void declare(const Topology& topology) override;
  /// A batch is one transaction: a server without memory takes all of it or nothing.
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
  std::size_t take_dead(std::string_view what, std::string_view queue, std::span<const std::string> ids);
  Url url_;
  TransportOptions options_;
  Keys keys_;
  Connection connection_;
  std::set<std::string> declared_;  // bindings, to notice that the server has lost them
};

}  // namespace errand::redis
