#pragma once
// RedisConsumer: takes messages under a lease, renews and settles them, and gives back what dead owners held.

#include "brokers/redis/keys.hpp"
#include "brokers/redis/marks.hpp"
#include "brokers/redis/server_clock.hpp"
#include "brokers/redis/watch.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

#include <unordered_map>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace errand::redis {

class RedisConsumer final : public Consumer {
 public:
  /// Connects, so that wrong credentials are known at once.
  RedisConsumer(Url url, TransportOptions transport, ConsumeOptions options);
  /// Gives back what it holds.
  ~RedisConsumer() override;

  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement> settlements) override;
  void extend(std::span<const Receipt> receipts, Milliseconds lease) override;
  void wake() noexcept override { watch_.wake(); }
  bool commit(const Commit& commit, ResultBackend* results_in) override;
  std::size_t fetched() const noexcept override { return ahead_.size(); }
  std::size_t stale() const noexcept override { return stale_; }
  std::vector<Receipt> take_lost() override { return std::exchange(lost_, {}); }
  std::vector<RevokedTask> take_revoked() override { return std::exchange(revoked_, {}); }
  Microseconds clock_ahead() const noexcept override;

 private:
  struct Held {
    std::uint64_t token = 0;
    std::string queue;
    Marks marks;            ///< with this delivery
    bool orphaned = false;  ///< the server has lost its data, this message included: nobody else can have it
  };
  void fetch(std::size_t max);
  void append_fetch(Commands& commands, std::size_t max);
  void take_in(const Reply& reply, SteadyPoint asked_at);
  bool tells_of_revoked(const Reply& reply) const;
  std::span<Delivery> hand_out();
  Delivery& decode(const std::string& tag, std::uint64_t token, std::size_t queue, const std::string& bytes);
  /// What has to be done from time to time; its times are in the members ending in _at_.
  void maintain();
  SteadyPoint next_chore() const noexcept;
  Deadline next_duty(Deadline deadline) const;
  void heartbeat() { static_cast<void>(renew({}, Milliseconds{0})); }
  /// Renews the heartbeat and these leases; returns how many are not ours any more.
  std::size_t renew(std::span<const Receipt> receipts, Milliseconds lease);
  static void note_skew(std::int64_t server_us);
  void learn_epoch(const std::string& epoch);
  void learn_revoked(const std::string& newest, std::int64_t now_us);
  void sweep();
  void bury(const std::string& owner, std::uint64_t after_token);
  /// Returns how many went back.
  std::size_t restore(std::span<const Reply> ended);
  void restore_foreign();
  bool restore_some_foreign();
  void apply(const Commit& commit, ResultBackend* store, std::string_view operation);
  bool may_fetch_along() const noexcept;
  SteadyPoint start_fetch(std::size_t max);
  std::vector<std::uint64_t> run_and_fetch(const SettleCall& call, std::string_view operation, SteadyPoint asked_at);
  void take_ahead(const Reply& reply, SteadyPoint asked_at, bool looked);
  void add_moves(std::vector<SettleWrite>& out, std::span<const Settlement> settlements);
  std::vector<std::string> fetch_keys() const;

  TransportOptions transport_;
  ConsumeOptions options_;
  Keys keys_;
  Connection connection_;
  Watch watch_;
  pid_t pid_;
  std::vector<Delivery> deliveries_;  // handed out by the last next()
  std::vector<Delivery> ahead_;       // for the following one
  bool looked_ahead_ = false;         // the last commit has fetched, too
  std::unordered_map<std::string, Held> held_;
  std::size_t rotation_ = 0;  // which queue is asked first
  std::size_t stale_ = 0;
  std::uint64_t last_token_ = 0;  // of all that arrived
  bool lost_answer_ = false;      // a fetch whose answer never came (yet) may have taken messages
  bool lost_connection_ = false;
  std::vector<Receipt> lost_;
  std::vector<RevokedTask> revoked_;  // not told yet
  std::string revoked_seen_ = "-inf";
  std::string epoch_;                        // of the server's data
  std::uint64_t generation_ = 0;             // of the connection that the epoch was asked on
  SteadyPoint due_at_ = SteadyPoint::max();  // the earliest parked message
  ServerClock server_clock_;
  SteadyPoint heartbeat_at_{}, touch_at_{}, sweep_at_{}, foreign_at_{}, look_at_{};
};

}  // namespace errand::redis
