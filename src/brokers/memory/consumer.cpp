#include "brokers/memory/consumer.hpp"

#include "core/in_time.hpp"

#include <errand/error.hpp>

#include <algorithm>

namespace errand::memory {

MemoryConsumer::MemoryConsumer(std::shared_ptr<Store> store, ConsumeOptions options, std::size_t max_message_bytes,
                               std::size_t max_dead_letters)
    : store_(std::move(store)),
      options_(std::move(options)),
      max_message_bytes_(max_message_bytes),
      max_dead_letters_(max_dead_letters) {
  if (options_.queues.empty()) {
    throw Error(
        {.kind = ErrorKind::invalid, .operation = "memory.consume", .detail = "expected at least one queue, got none"});
  }
  for (const std::string& queue : options_.queues) check_queue_name(queue);
  holder_ = store_->add_consumer(options_.queues, listener_);
}

MemoryConsumer::~MemoryConsumer() { store_->remove_consumer(holder_); }

std::span<Delivery> MemoryConsumer::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  if (max == 0) {
    listener_->wait_for_wake(deadline);
    listener_->woken.clear();
    return {};
  }
  for (;;) {
    listener_->news.clear();  // before looking, so that none is missed between looking and waiting
    const SteadyPoint look_again = store_->claim(holder_, options_.queues, max, options_.lease, deliveries_);
    if (!deliveries_.empty()) {
      std::rotate(options_.queues.begin(), options_.queues.begin() + 1, options_.queues.end());
      return deliveries_;
    }
    if (listener_->woken.clear() || deadline.passed()) return {};
    listener_->wait(deadline.earlier(Deadline::at(look_again)));
  }
}

void MemoryConsumer::settle(std::span<const Settlement> settlements) {
  const std::vector<std::uint32_t> late = store_->settle(settlements, max_dead_letters_);
  stale_ += late.size();
  for (const std::uint32_t place : late) lost_.push_back(settlements[place].receipt);
}

void MemoryConsumer::extend(std::span<const Receipt> receipts, Milliseconds lease) {
  const std::vector<std::uint32_t> late = store_->extend(receipts, lease);
  stale_ += late.size();
  for (const std::uint32_t place : late) lost_.push_back(receipts[place]);
}

// Steps in memory either all happen or the first of them refuses, so going through them in order is one step.
bool MemoryConsumer::commit(const Commit& commit, ResultBackend* results_in) {
  if (!commit.results.empty() && (results_in == nullptr || results_in->traits().name != "memory")) return false;
  const std::vector<std::uint32_t> late = store_->late(commit.settlements);
  if (late.empty()) {
    store_->publish(commit.follow_ups, max_message_bytes_);
    if (!commit.results.empty()) results_in->put(commit.results);
  } else {
    store_->publish(core::in_time(commit.follow_ups, commit.follow_ups_of, late), max_message_bytes_);
    if (!commit.results.empty()) results_in->put(core::in_time(commit.results, commit.results_of, late));
  }
  settle(commit.settlements);
  return true;
}

MemorySubscriber::MemorySubscriber(std::shared_ptr<Store> store, Route pattern) : store_(std::move(store)) {
  subscription_->pattern = std::move(pattern);
  subscription_->listener = std::make_shared<Listener>();
  store_->subscribe(subscription_);
}

MemorySubscriber::~MemorySubscriber() { store_->unsubscribe(subscription_); }

std::span<Delivery> MemorySubscriber::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  Listener& listener = *subscription_->listener;
  if (max == 0) {
    listener.wait_for_wake(deadline);
    listener.woken.clear();
    return {};
  }
  for (;;) {
    listener.news.clear();
    if (store_->take_broadcasts(*subscription_, max, deliveries_) > 0 || listener.woken.clear() || deadline.passed())
      return deliveries_;
    listener.wait(deadline);
  }
}

}  // namespace errand::memory
