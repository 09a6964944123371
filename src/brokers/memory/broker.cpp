#include "brokers/memory/broker.hpp"

#include "brokers/memory/consumer.hpp"

namespace errand::memory {

std::unique_ptr<Broker> make_broker(std::string_view url, const TransportOptions& options) {
  const std::size_t name = url.find("://");
  return std::make_unique<MemoryBroker>(Store::named(name == std::string_view::npos ? url : url.substr(name + 3)),
                                        options);
}

MemoryBroker::MemoryBroker(std::shared_ptr<Store> store, const TransportOptions& options)
    : store_(std::move(store)),
      max_message_bytes_(options.max_message_bytes),
      max_dead_letters_(options.max_dead_letters),
      revoke_expires_(options.revoke_expires) {}

BrokerTraits MemoryBroker::traits() const noexcept {
  BrokerTraits traits;
  traits.name = "memory";
  traits.priorities = true;
  traits.fanout = true;
  traits.lease = Milliseconds{60'000};
  traits.keeps_revokes = true;
  traits.max_message_bytes = max_message_bytes_;
  traits.max_dead_letters = max_dead_letters_;
  return traits;
}

void MemoryBroker::declare(const Topology& topology) { store_->declare(topology); }
void MemoryBroker::publish(std::span<const Envelope> envelopes) { store_->publish(envelopes, max_message_bytes_); }

std::unique_ptr<Consumer> MemoryBroker::consume(const ConsumeOptions& options) {
  return std::make_unique<MemoryConsumer>(store_, options, max_message_bytes_, max_dead_letters_);
}

std::unique_ptr<Consumer> MemoryBroker::subscribe(const Route& pattern) {
  return std::make_unique<MemorySubscriber>(store_, pattern);
}
void MemoryBroker::broadcast(const Envelope& envelope) { store_->broadcast(envelope); }

QueueInfo MemoryBroker::inspect(std::string_view queue) { return store_->inspect(queue); }
std::vector<std::string> MemoryBroker::queues() { return store_->queues(); }
void MemoryBroker::revoke(std::span<const TaskId> ids) { store_->revoke(ids, revoke_expires_, kMostRevoked); }
std::size_t MemoryBroker::purge(std::string_view queue) { return store_->purge(queue); }

std::vector<DeadLetter> MemoryBroker::dead_letters(std::string_view queue, std::size_t limit, std::string_view after) {
  return store_->dead_letters(queue, limit, after);
}
std::size_t MemoryBroker::requeue_dead(std::string_view queue, std::span<const std::string> ids) {
  return store_->requeue_dead(queue, ids);
}
std::size_t MemoryBroker::drop_dead(std::string_view queue, std::span<const std::string> ids) {
  return store_->drop_dead(queue, ids);
}

}  // namespace errand::memory
