#pragma once
// StoreModel: what a broker's server holds, as a state machine without connections: the queues of the SQLite or the
// Redis driver. Kept honest by tests/sim/differential_test.cpp, which asks it and the real ones the same questions.
//
// A message is ready, parked, leased or dead, and gone when it was acknowledged. Every step is atomic, as the scripts
// and transactions of the drivers are.

#include <errand/broker.hpp>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace errand::testing {

/// Which driver's ways the model follows where they differ.
enum class Flavour { sqlite, redis };

/// One message and where it is.
struct Item {
  enum class State { ready, parked, leased, dead };
  std::uint64_t number = 0;
  State state = State::ready;
  std::string queue;
  TaskId task_id;
  int urgency = 0;            ///< 0 is served first
  std::int64_t position = 0;  ///< within its urgency
  Message message;
  Route route;
  std::uint32_t deliveries = 0;
  std::uint64_t life_token = 0;  ///< no delivery of this life has a smaller one; SQLite: 0 for the first life
  TimePoint sent{};
  TimePoint due{};
  // leased:
  std::uint64_t token = 0;
  std::string owner;
  TimePoint until{};
  TimePoint stamp{};     ///< of the last renewal, as kombu's restore job sees it
  bool foreign = false;  ///< held by a worker of Python's, which has no lease
  // dead:
  std::string reason, detail;
  TimePoint last_seen{};
};

/// Why a message that was handed out is on its queue again.
enum class Return { lease_ended, owner_dead, consumer_closed, answer_lost, requeued, foreign_timeout };
std::string_view to_string(Return why) noexcept;

/// Hears of every change, in order.
class StoreWatcher {
 public:
  virtual ~StoreWatcher() = default;
  virtual void arrived(const Item& item) = 0;
  virtual void claimed(const Item& item) = 0;
  virtual void returned(const Item& item, Return why) = 0;
  virtual void settled(const Item& item, const Settlement& settlement) = 0;
  virtual void stale(const Receipt& receipt, std::string_view owner) = 0;
  virtual void put_back(const Item& item) = 0;  ///< a dead letter, by an operator
  virtual void removed(const Item& item) = 0;   ///< purged or dropped by an operator
};

class StoreModel {
 public:
  /// `first` is the server's time when it was made: tokens of Redis are times.
  StoreModel(Flavour flavour, TimePoint first);
  StoreWatcher* watcher = nullptr;

  void declare(const Topology& topology);
  /// Throws Error{not_found} before anything is stored.
  void publish(std::span<const Envelope> envelopes, TimePoint now);

  std::vector<Delivery> claim(std::string_view owner, std::span<const std::string> queues, std::size_t max,
                              Milliseconds lease, TimePoint now);
  /// Both return the places of those that came too late.
  std::vector<std::uint32_t> settle(std::string_view owner, std::span<const Settlement> settlements, TimePoint now);
  std::vector<std::uint32_t> late(std::string_view owner, std::span<const Settlement> settlements);
  std::vector<std::uint32_t> extend(std::string_view owner, std::span<const Receipt> receipts, Milliseconds lease,
                                    TimePoint now);

  /// Owners that said nothing for so long are dead at the next sweep.
  void heartbeat(const std::string& owner, TimePoint until) { owners_[owner] = until; }
  bool owner_known(const std::string& owner) const { return owners_.contains(owner); }
  /// Its process is known to have died (SQLite), or it closed its consumer properly.
  void bury(std::string_view owner, Return why);
  /// What it took after that token never reached it.
  void bury_after(std::string_view owner, std::uint64_t token);
  /// Gives back what ended leases and silent owners held. Returns how many messages.
  std::size_t sweep(TimePoint now);

  // A worker of Python's: takes without a lease, restores by age.
  std::vector<Delivery> claim_foreign(std::string_view owner, const std::string& queue, std::size_t max,
                                      TimePoint its_clock);
  bool ack_foreign(const Receipt& receipt);
  std::size_t restore_foreign(Milliseconds visibility, TimePoint its_clock, bool errands_too);

  QueueInfo inspect(std::string_view queue) const;
  std::vector<std::string> queues() const;
  std::size_t purge(std::string_view queue);
  std::vector<DeadLetter> dead_letters(std::string_view queue, std::size_t limit, std::string_view after) const;
  std::size_t requeue_dead(std::string_view queue, std::span<const std::string> ids);
  std::size_t drop_dead(std::string_view queue, std::span<const std::string> ids);

  /// When something parked in one of the queues is due, or a lease ends.
  TimePoint next_due(std::span<const std::string> queues) const;
  TimePoint next_lease_end() const;
  std::size_t ready_in(std::span<const std::string> queues, TimePoint now) const;
  const std::map<std::uint64_t, Item>& items() const noexcept { return items_; }
  std::size_t count(Item::State state) const noexcept;
  Flavour flavour() const noexcept { return flavour_; }

 private:
  struct Queue {
    std::map<std::pair<int, std::int64_t>, std::uint64_t> ready;
    std::set<std::pair<TimePoint, std::uint64_t>> parked;
    std::map<std::uint64_t, std::uint64_t> dead;  // id -> number
  };
  struct Binding {
    std::string exchange, type, key, queue;
    friend bool operator==(const Binding&, const Binding&) = default;
  };
  enum class Place { front, back };
  std::vector<std::string> targets(const Route& route) const;
  void put_ready(Item& item, Place place);
  std::vector<Item*> leased_to_errands();
  void give_back(Item& item, Return why);
  void promote(Queue& queue, TimePoint now);
  std::uint64_t next_token(TimePoint now);
  Delivery hand_out(Item& item);
  void erase(std::uint64_t number) { items_.erase(number); }
  Item* held(std::string_view owner, const Receipt& receipt);

  Flavour flavour_;
  std::map<std::uint64_t, Item> items_;
  std::map<std::string, Queue, std::less<>> queues_;
  std::set<std::uint64_t> leased_;
  std::map<std::string, TimePoint, std::less<>> owners_;
  std::vector<Binding> bindings_;
  std::uint64_t last_number_ = 0, last_token_ = 0, last_dead_ = 0;
  std::int64_t front_ = 0, back_ = 0;
};

}  // namespace errand::testing
