#pragma once
// The consumers of a SignedBroker: every delivery is looked at before anybody else sees it.

#include "signing/nonces.hpp"
#include "signing/signer.hpp"
#include "signing/verifier.hpp"

#include <errand/broker.hpp>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace errand::signing {

/// Ids under which the end of one sending is stored begin with this (see Delivery::sending_id).
inline constexpr std::string_view kSentPrefix = "errand-sent-";

/// What both kinds share: the parts of their broker, which outlives them. Used by the broker's thread.
struct Parts {
  Parts(const SigningOptions& all, std::shared_ptr<const Clock> time)
      : options(all), clock(std::move(time)), commands(all.max_remembered, 2 * all.replay_window) {}

  SigningOptions options;
  std::optional<Signer> signer;
  std::optional<Verifier> verifier;  // unset: nothing is looked at
  std::shared_ptr<const Clock> clock;
  /// Of remote control: whoever listens anew has not forgotten what it obeyed. For two windows: a command whose
  /// sender's clock is ahead by one is good for another.
  Nonces commands;
};

/// Messages of queues. One that is refused comes out as a defect with its reason, so that it ends in the dead letters.
class SignedConsumer final : public Consumer {
 public:
  SignedConsumer(std::unique_ptr<Consumer> inner, Parts& parts);

  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement> settlements) override;
  void extend(std::span<const Receipt> receipts, Milliseconds lease) override { inner_->extend(receipts, lease); }
  void wake() noexcept override { inner_->wake(); }
  bool commit(const Commit& commit, ResultBackend* results_in) override;
  std::size_t fetched() const noexcept override { return inner_->fetched(); }
  std::size_t stale() const noexcept override { return inner_->stale(); }
  std::vector<Receipt> take_lost() override;
  std::vector<RevokedTask> take_revoked() override { return inner_->take_revoked(); }
  Microseconds clock_ahead() const noexcept override { return inner_->clock_ahead(); }

 private:
  void look_at(Delivery& delivery);
  void settled(std::span<const Settlement> settlements);
  void hear_of_lost();

  std::unique_ptr<Consumer> inner_;
  Parts& parts_;
  Nonces nonces_;
  std::vector<Receipt> lost_;  // heard of and not yet told
};

/// Commands of remote control. Nobody settles them, so one that is refused is left out and told in the log.
class SignedSubscriber final : public Consumer {
 public:
  SignedSubscriber(std::unique_ptr<Consumer> inner, Parts& parts);

  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement>) override {}
  void extend(std::span<const Receipt>, Milliseconds) override {}
  void wake() noexcept override { inner_->wake(); }

 private:
  bool may_pass(const Delivery& delivery);

  std::unique_ptr<Consumer> inner_;
  Parts& parts_;
  std::vector<Delivery> deliveries_;
};

}  // namespace errand::signing
