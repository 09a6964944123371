#include "signing/broker.hpp"

#include "signing/consumer.hpp"

#include <errand/error.hpp>

#include <algorithm>

namespace errand {

void check_signing(const SigningOptions& options) {
  if (!options.key_id.empty()) static_cast<void>(signing::Signer(options));
  if (options.verifies()) static_cast<void>(signing::Verifier(options));
}

}  // namespace errand

namespace errand::signing {

namespace {
constexpr std::string_view kControlExchange = "celery.pidbox";  // celery-wire section 8.1
}  // namespace

std::unique_ptr<Broker> with_signatures(std::unique_ptr<Broker> inner, const SigningOptions& options,
                                        std::shared_ptr<const Clock> clock) {
  if (!options.active()) return inner;
  if (!clock) clock = std::make_shared<SystemClock>();
  return std::make_unique<SignedBroker>(std::move(inner), options, std::move(clock));
}

SignedBroker::SignedBroker(std::unique_ptr<Broker> inner, const SigningOptions& options,
                           std::shared_ptr<const Clock> clock)
    : inner_(std::move(inner)), parts_(std::make_unique<Parts>(options, std::move(clock))) {
  if (!options.key_id.empty()) parts_->signer.emplace(options);
  if (options.verifies()) parts_->verifier.emplace(options);
}

SignedBroker::~SignedBroker() = default;

void SignedBroker::publish(std::span<const Envelope> envelopes) {
  if (!parts_->signer) return inner_->publish(envelopes);
  inner_->publish(parts_->signer->sign(envelopes, parts_->clock->now()));
}

std::unique_ptr<Consumer> SignedBroker::consume(const ConsumeOptions& options) {
  const auto asks = [&](const std::string& queue) {
    return parts_->verifier && parts_->verifier->policy(queue) != SignaturePolicy::off;
  };
  const auto queue = std::find_if(options.queues.begin(), options.queues.end(), asks);
  if (queue == options.queues.end() && !parts_->signer) return inner_->consume(options);
  if (!parts_->signer) {
    throw Error({.kind = ErrorKind::denied,
                 .operation = "signing",
                 .subject = *queue,
                 .detail =
                     "expected a key to sign with, for the retries and follow-ups of a worker whose queue asks for "
                     "signatures; got none: set key and key_file"});
  }
  return std::make_unique<SignedConsumer>(inner_->consume(options), *parts_);
}

std::unique_ptr<Consumer> SignedBroker::subscribe(const Route& pattern) {
  auto inner = inner_->subscribe(pattern);
  if (!parts_->verifier || pattern.exchange != kControlExchange) return inner;
  return std::make_unique<SignedSubscriber>(std::move(inner), *parts_);
}

void SignedBroker::broadcast(const Envelope& envelope) {
  if (!parts_->signer) return inner_->broadcast(envelope);
  inner_->broadcast(parts_->signer->sign({&envelope, 1}, parts_->clock->now()).front());
}

}  // namespace errand::signing
