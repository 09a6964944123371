#include "signing/consumer.hpp"

#include "core/log.hpp"
#include "protocol/decode_failure.hpp"

#include <utility>

namespace errand::signing {

namespace {

// What the message says of itself, for the dead letter's line: not to be believed, but it helps to find the sender.
std::string claims(const Message& message) {
  std::string text;
  for (const std::string_view name : {"task", "id", "origin"}) {
    const Value* value = message.headers.find(name);
    const std::string* claim = value == nullptr ? nullptr : value->if_text();
    if (claim != nullptr)
      text += (text.empty() ? "" : ", ") + std::string(name) + " '" + protocol::printable(*claim) + "'";
  }
  return text.empty() ? text : " (it says: " + text + ")";
}

}  // namespace

SignedConsumer::SignedConsumer(std::unique_ptr<Consumer> inner, Parts& parts)
    : inner_(std::move(inner)), parts_(parts), nonces_(parts.options.max_remembered, parts.options.replay_window) {}

std::span<Delivery> SignedConsumer::next(std::size_t max, Deadline deadline) {
  const std::span<Delivery> deliveries = inner_->next(max, deadline);
  for (Delivery& delivery : deliveries) look_at(delivery);
  return deliveries;
}

void SignedConsumer::look_at(Delivery& delivery) {
  if (!parts_.verifier || !delivery.defect.empty()) return;
  const TimePoint now = parts_.clock->now() + inner_->clock_ahead();
  Verdict verdict = parts_.verifier->judge(delivery.message, delivery.route, delivery.receipt.queue, now);
  if (verdict.refused.empty()) {
    if (verdict.nonce.empty()) return;
    delivery.sending_id = std::string(kSentPrefix) + verdict.nonce;
    delivery.signed_by = verdict.key_id;
    if (nonces_.take(verdict.nonce, delivery.receipt, delivery.redelivered, parts_.clock->steady())) return;
    verdict = {reason::replayed, "a copy of a message that was here before", {}, {}};
  }
  delivery.defect_code = std::string(verdict.refused);
  delivery.defect = verdict.detail + claims(delivery.message);
}

void SignedConsumer::settled(std::span<const Settlement> settlements) {
  const SteadyPoint now = parts_.clock->steady();
  // First: what came too late has not ended. Whoever has the message now may give it back, and it comes here again.
  hear_of_lost();
  for (const Settlement& settlement : settlements) {
    if (settlement.kind == Settlement::Kind::ack) {
      nonces_.spend(settlement.receipt, now);
    } else {
      nonces_.release(settlement.receipt);
    }
  }
}

void SignedConsumer::settle(std::span<const Settlement> settlements) {
  inner_->settle(settlements);
  settled(settlements);
}

bool SignedConsumer::commit(const Commit& commit, ResultBackend* results_in) {
  Commit with = commit;
  std::vector<Envelope> follow_ups;
  if (parts_.signer && !commit.follow_ups.empty()) {
    follow_ups = parts_.signer->sign(commit.follow_ups, parts_.clock->now() + inner_->clock_ahead());
    with.follow_ups = follow_ups;
  }
  if (!inner_->commit(with, results_in)) return false;
  settled(commit.settlements);
  return true;
}

void SignedConsumer::hear_of_lost() {
  for (Receipt& receipt : inner_->take_lost()) {
    nonces_.release(receipt);
    lost_.push_back(std::move(receipt));
  }
}

std::vector<Receipt> SignedConsumer::take_lost() {
  hear_of_lost();
  return std::exchange(lost_, {});
}

SignedSubscriber::SignedSubscriber(std::unique_ptr<Consumer> inner, Parts& parts)
    : inner_(std::move(inner)), parts_(parts) {}

std::span<Delivery> SignedSubscriber::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  for (Delivery& delivery : inner_->next(max, deadline)) {
    if (may_pass(delivery)) deliveries_.push_back(std::move(delivery));
  }
  return deliveries_;
}

bool SignedSubscriber::may_pass(const Delivery& delivery) {
  if (!delivery.defect.empty()) return true;  // whoever reads it says so
  Verdict verdict = parts_.verifier->judge_command(delivery.message, delivery.route, parts_.clock->now());
  if (verdict.refused.empty()) {
    if (verdict.nonce.empty()) return true;
    // A command has no receipt; it is over as soon as it is here.
    const Receipt receipt{.id = verdict.nonce};
    const SteadyPoint now = parts_.clock->steady();
    if (parts_.commands.take(verdict.nonce, receipt, false, now)) {
      parts_.commands.spend(receipt, now);
      return true;
    }
    verdict = {reason::replayed, "a copy of a command that was here before", {}, {}};
  }
  log::limited(log::Level::warning, "control.refused", std::string(verdict.refused) + ": " + verdict.detail);
  return false;
}

}  // namespace errand::signing
