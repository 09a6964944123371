#include "signing/nonces.hpp"

namespace errand::signing {

void Nonces::forget(SteadyPoint now) {
  while (!spent_.empty() && (spent_.front().at + window_ <= now || spent_.size() > most_)) {
    known_.erase(spent_.front().nonce);
    spent_.pop_front();
  }
}

bool Nonces::take(const std::string& nonce, const Receipt& receipt, bool redelivered, SteadyPoint now) {
  forget(now);
  const auto [place, fresh] = known_.try_emplace(nonce, Entry{receipt, false});
  Entry& entry = place->second;
  if (!fresh) {
    // The same delivery under a later token, or the same message under another name: its lease had run out.
    const bool same = entry.receipt.id == receipt.id && entry.receipt.queue == receipt.queue;
    if (entry.spent || !(same || redelivered)) return false;
    held_.erase(key_of(entry.receipt));
    entry = Entry{receipt, false};
  }
  held_[key_of(receipt)] = nonce;
  return true;
}

void Nonces::spend(const Receipt& receipt, SteadyPoint now) {
  const auto held = held_.find(key_of(receipt));
  if (held == held_.end()) return;
  const auto known = known_.find(held->second);
  if (known != known_.end() && known->second.receipt == receipt) {
    known->second.spent = true;
    spent_.push_back({held->second, now});
    held_.erase(held);
    forget(now);
  }
}

void Nonces::release(const Receipt& receipt) {
  const auto held = held_.find(key_of(receipt));
  if (held == held_.end()) return;
  const auto known = known_.find(held->second);
  if (known != known_.end() && known->second.receipt == receipt) {
    known_.erase(known);
    held_.erase(held);
  }
}

}  // namespace errand::signing
