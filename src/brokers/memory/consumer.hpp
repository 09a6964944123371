#pragma once
// MemoryConsumer and MemorySubscriber: the waiting ends of a store.

#include "brokers/memory/store.hpp"

#include <utility>

namespace errand::memory {

class MemoryConsumer final : public Consumer {
 public:
  MemoryConsumer(std::shared_ptr<Store> store, ConsumeOptions options, std::size_t max_message_bytes,
                 std::size_t max_dead_letters);
  ~MemoryConsumer() override;

  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement> settlements) override;
  void extend(std::span<const Receipt> receipts, Milliseconds lease) override;
  void wake() noexcept override { listener_->woken.signal(); }
  bool commit(const Commit& commit, ResultBackend* results_in) override;
  std::size_t stale() const noexcept override { return stale_; }
  std::vector<Receipt> take_lost() override { return std::exchange(lost_, {}); }
  std::vector<RevokedTask> take_revoked() override { return store_->revoked_since(revoked_seen_); }

 private:
  std::shared_ptr<Store> store_;
  ConsumeOptions options_;
  std::size_t max_message_bytes_;
  std::size_t max_dead_letters_;
  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
  std::uint64_t holder_ = 0;
  std::vector<Delivery> deliveries_;
  std::size_t stale_ = 0;
  std::vector<Receipt> lost_;
  std::uint64_t revoked_seen_ = 0;
};

class MemorySubscriber final : public Consumer {
 public:
  MemorySubscriber(std::shared_ptr<Store> store, Route pattern);
  ~MemorySubscriber() override;

  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement>) override {}
  void extend(std::span<const Receipt>, Milliseconds) override {}
  void wake() noexcept override { subscription_->listener->woken.signal(); }

 private:
  std::shared_ptr<Store> store_;
  std::shared_ptr<Subscription> subscription_ = std::make_shared<Subscription>();
  std::vector<Delivery> deliveries_;
};

}  // namespace errand::memory
