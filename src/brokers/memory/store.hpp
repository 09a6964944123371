#pragma once
// One named set of queues in memory. Every member may be called from any thread.

#include "core/fd.hpp"

#include <errand/broker.hpp>

#include <deque>
#include <map>
#include <mutex>
#include <set>

namespace errand::memory {

/// A consumer or subscriber that may be waiting. Signalled by the store, waited for by its own thread.
struct Listener {
  core::EventFd news;   // there is something to look at
  core::EventFd woken;  // somebody called wake()
  /// Returns at news, at a wake-up or at the deadline.
  void wait(Deadline deadline) noexcept;
  void wait_for_wake(Deadline deadline) noexcept;
};

/// Broadcasts on their way to one subscriber; under the store's lock.
struct Subscription {
  static constexpr std::size_t kMostHeld = 10'000;  // beyond it the oldest are dropped: broadcasts may be lost
  Route pattern;
  std::shared_ptr<Listener> listener;
  std::deque<Delivery> held;
};

class Store {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 30;  ///< of bodies and kPerMessage each, all queues
  static constexpr std::size_t kPerMessage = 1'024;

  /// The store of that name; it and what it holds live as long as the process.
  static std::shared_ptr<Store> named(std::string_view name);

  void declare(const Topology& topology);
  void publish(std::span<const Envelope> envelopes, std::size_t max_message_bytes);
  QueueInfo inspect(std::string_view queue);
  std::vector<std::string> queues();
  std::size_t purge(std::string_view queue);
  std::vector<DeadLetter> dead_letters(std::string_view queue, std::size_t limit, std::string_view after);
  std::size_t requeue_dead(std::string_view queue, std::span<const std::string> ids);
  std::size_t drop_dead(std::string_view queue, std::span<const std::string> ids);

  void revoke(std::span<const TaskId> ids, Milliseconds keep, std::size_t most);
  /// Those revoked after number `seen`, which is moved on.
  std::vector<RevokedTask> revoked_since(std::uint64_t& seen);

  // For consumers. `holder` names one consumer of this process.
  std::uint64_t add_consumer(const std::vector<std::string>& queues, std::shared_ptr<Listener> listener);
  /// What it holds goes back to its queues.
  void remove_consumer(std::uint64_t holder);
  /// Takes up to `max` messages, asking `queues` in the order given. Returns when to look again without news.
  SteadyPoint claim(std::uint64_t holder, std::span<const std::string> queues, std::size_t max, Milliseconds lease,
                    std::vector<Delivery>& out);
  /// Both return which came too late, by their places.
  std::vector<std::uint32_t> settle(std::span<const Settlement> settlements, std::size_t max_dead_letters);
  std::vector<std::uint32_t> extend(std::span<const Receipt> receipts, Milliseconds lease);
  /// Which of these are somebody else's, by their places.
  std::vector<std::uint32_t> late(std::span<const Settlement> settlements);

  void subscribe(std::shared_ptr<Subscription> subscription);
  void unsubscribe(const std::shared_ptr<Subscription>& subscription);
  void broadcast(const Envelope& envelope);
  std::size_t take_broadcasts(Subscription& subscription, std::size_t max, std::vector<Delivery>& out);

 private:
  struct Item {
    std::uint64_t number = 0;  // in the order of arrival
    std::string queue;
    int urgency = 0;  // 0 is served first
    Message message;
    Route route;
    std::uint32_t deliveries = 0;
    std::uint64_t life_token = 0;  // of the first delivery since an operator put it back
    TimePoint sent{};
    std::size_t bytes = 0;
  };
  struct Dead {
    Item item;
    std::string reason, detail;
    TimePoint last_seen{};
  };
  struct Queue {
    std::map<std::pair<int, std::uint64_t>, Item> ready;
    std::multimap<TimePoint, Item> parked;
    std::map<std::uint64_t, Dead> dead;
  };
  struct Lease {
    Item item;
    std::uint64_t token = 0;
    std::uint64_t holder = 0;
    SteadyPoint until{};
  };
  struct Binding {
    std::string exchange, type, key, queue;
    friend bool operator==(const Binding&, const Binding&) = default;
  };
  struct ConsumerEntry {
    std::set<std::string, std::less<>> queues;
    std::shared_ptr<Listener> listener;
  };

  std::vector<std::string> targets(const Route& route) const;
  void put_ready(Item item);
  // Takes the letters that are there out of the dead ones and gives each to `use`; returns how many.
  template <class Use>
  std::size_t take_dead(std::string_view name, std::span<const std::string> ids, Use use);
  void put_parked(Item item, TimePoint due);
  void forget(const Item& item) { bytes_ -= item.bytes; }
  void tell(const std::string& queue);
  void give_back_expired(SteadyPoint now);
  void give_back_due(Queue& queue, TimePoint now);
  static std::optional<std::uint64_t> number_of(std::string_view id);
  Lease* held(const Receipt& receipt);

  std::mutex mutex_;
  std::map<std::string, Queue, std::less<>> queues_;
  std::vector<Binding> bindings_;
  std::map<std::uint64_t, Lease> leases_;  // by number of the message
  std::map<std::uint64_t, ConsumerEntry> consumers_;
  std::set<std::shared_ptr<Subscription>> subscriptions_;
  struct Revoked {
    TaskId id;
    SteadyPoint until{};
  };
  std::map<std::uint64_t, Revoked> revoked_;  // in the order of revocation
  std::uint64_t last_revoked_ = 0;
  std::uint64_t last_number_ = 0, last_token_ = 0, last_holder_ = 0, last_dead_ = 0;
  std::size_t bytes_ = 0;
};

/// Throws Error{invalid} for a name that no queue may have.
void check_queue_name(std::string_view name);

}  // namespace errand::memory
