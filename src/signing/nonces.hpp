#pragma once
// What a worker has had already: the nonces of signed messages, so that a copy of one is told from the broker's own
// second delivery of it. Pure.

#include <errand/message.hpp>
#include <errand/time.hpp>

#include <deque>
#include <string>
#include <unordered_map>

namespace errand::signing {

/// Used by one thread. A nonce is held from its delivery to its settlement, and spent from then until the window has
/// passed. What goes back to its queue is neither: it comes again; nor is a dead letter, for an operator may put it
/// back.
class Nonces {
 public:
  Nonces(std::size_t most, Milliseconds window) : most_(most), window_(window) {}

  /// Whether this delivery may be the message it claims to be. False: a message with this nonce has ended here, or is
  /// held under another delivery, and the broker does not call this one its second: a process that stood still may get
  /// its own message again before it learns that it had lost it.
  bool take(const std::string& nonce, const Receipt& receipt, bool redelivered, SteadyPoint now);

  /// The message was acknowledged, with the receipt it was taken by.
  void spend(const Receipt& receipt, SteadyPoint now);
  /// It went back to its queue or to the dead letters, or somebody else has it now.
  void release(const Receipt& receipt);

  std::size_t size() const noexcept { return known_.size(); }

 private:
  struct Entry {
    Receipt receipt;
    bool spent = false;
  };
  struct Spent {
    std::string nonce;
    SteadyPoint at;
  };
  static std::string key_of(const Receipt& receipt) { return receipt.queue + '\0' + receipt.id; }
  void forget(SteadyPoint now);

  std::size_t most_;
  Milliseconds window_;
  std::unordered_map<std::string, Entry> known_;       // by nonce
  std::unordered_map<std::string, std::string> held_;  // receipt -> nonce
  std::deque<Spent> spent_;                            // oldest first
};

}  // namespace errand::signing
