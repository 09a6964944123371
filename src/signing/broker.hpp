#pragma once
// SignedBroker: any broker, whose messages are signed on their way out and verified on their way in. Nobody else in the
// system knows of signatures.

#include <errand/broker.hpp>
#include <errand/signing.hpp>
#include <errand/time.hpp>

#include <memory>

namespace errand::signing {

struct Parts;

/// Wraps `inner` as the options say; without any of them, `inner` itself comes back. Throws Error{invalid} or {denied}
/// for keys that cannot be used. `clock` unset: the machine's.
std::unique_ptr<Broker> with_signatures(std::unique_ptr<Broker> inner, const SigningOptions& options,
                                        std::shared_ptr<const Clock> clock = nullptr);

class SignedBroker final : public Broker {
 public:
  SignedBroker(std::unique_ptr<Broker> inner, const SigningOptions& options, std::shared_ptr<const Clock> clock);
  ~SignedBroker() override;

  BrokerTraits traits() const noexcept override { return inner_->traits(); }
  void declare(const Topology& topology) override { inner_->declare(topology); }
  void publish(std::span<const Envelope> envelopes) override;
  /// Throws Error{denied} when a queue asks for signatures and this process has no key: the retries and follow-ups
  /// that a worker sends would be refused.
  std::unique_ptr<Consumer> consume(const ConsumeOptions& options) override;
  std::unique_ptr<Consumer> subscribe(const Route& pattern) override;
  void broadcast(const Envelope& envelope) override;
  QueueInfo inspect(std::string_view queue) override { return inner_->inspect(queue); }
  std::vector<std::string> queues() override { return inner_->queues(); }
  std::size_t purge(std::string_view queue) override { return inner_->purge(queue); }
  void revoke(std::span<const TaskId> ids) override { inner_->revoke(ids); }
  std::vector<DeadLetter> dead_letters(std::string_view queue, std::size_t limit, std::string_view after) override {
    return inner_->dead_letters(queue, limit, after);
  }
  std::size_t requeue_dead(std::string_view queue, std::span<const std::string> ids) override {
    return inner_->requeue_dead(queue, ids);
  }
  std::size_t drop_dead(std::string_view queue, std::span<const std::string> ids) override {
    return inner_->drop_dead(queue, ids);
  }

 private:
  std::unique_ptr<Broker> inner_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace errand::signing
