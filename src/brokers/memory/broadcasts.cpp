// What a Store tells everybody: broadcasts and revoked tasks.
#include "brokers/memory/store.hpp"

#include "protocol/topic.hpp"

#include <algorithm>

namespace errand::memory {

void Store::subscribe(std::shared_ptr<Subscription> subscription) {
  const std::lock_guard lock(mutex_);
  subscriptions_.insert(std::move(subscription));
}

void Store::unsubscribe(const std::shared_ptr<Subscription>& subscription) {
  const std::lock_guard lock(mutex_);
  subscriptions_.erase(subscription);
}

void Store::broadcast(const Envelope& envelope) {
  const std::lock_guard lock(mutex_);
  for (const std::shared_ptr<Subscription>& subscription : subscriptions_) {
    const Route& pattern = subscription->pattern;
    if (pattern.exchange != envelope.route.exchange) continue;
    if (!pattern.routing_key.empty() && !protocol::topic_matches(pattern.routing_key, envelope.route.routing_key))
      continue;
    if (subscription->held.size() == Subscription::kMostHeld) subscription->held.pop_front();
    Delivery& delivery = subscription->held.emplace_back();
    delivery.receipt.id = std::to_string(++last_number_);
    delivery.message = envelope.message;
    delivery.route = envelope.route;
    subscription->listener->news.signal();
  }
}

std::size_t Store::take_broadcasts(Subscription& subscription, std::size_t max, std::vector<Delivery>& out) {
  const std::lock_guard lock(mutex_);
  while (out.size() < max && !subscription.held.empty()) {
    out.push_back(std::move(subscription.held.front()));
    subscription.held.pop_front();
  }
  return out.size();
}

void Store::revoke(std::span<const TaskId> ids, Milliseconds keep, std::size_t most) {
  const std::lock_guard lock(mutex_);
  const SteadyPoint now = std::chrono::steady_clock::now();
  std::erase_if(revoked_, [&](const auto& one) {
    return one.second.until <= now || std::find(ids.begin(), ids.end(), one.second.id) != ids.end();
  });
  for (const TaskId& id : ids) revoked_.emplace(++last_revoked_, Revoked{id, now + keep});
  while (revoked_.size() > most) revoked_.erase(revoked_.begin());
}

std::vector<RevokedTask> Store::revoked_since(std::uint64_t& seen) {
  const std::lock_guard lock(mutex_);
  std::vector<RevokedTask> out;
  const SteadyPoint now = std::chrono::steady_clock::now();
  for (auto it = revoked_.upper_bound(seen); it != revoked_.end(); ++it) {
    const auto left = std::chrono::duration_cast<Milliseconds>(it->second.until - now);
    if (left > Milliseconds{0}) out.push_back({it->second.id, left});
  }
  seen = last_revoked_;
  return out;
}

}  // namespace errand::memory
