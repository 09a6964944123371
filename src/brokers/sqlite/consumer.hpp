#pragma once
// SqliteConsumer: claims messages under a lease. Claiming, settling and storing results are one transaction each.

#include "wire/sqlite/results.hpp"
#include "wire/sqlite/store.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

#include <map>
#include <utility>

namespace errand::sqlite {

class SqliteConsumer final : public Consumer {
 public:
  SqliteConsumer(std::string path, ConsumeOptions options, const TransportOptions& transport);
  ~SqliteConsumer() override;

  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement> settlements) override;
  void extend(std::span<const Receipt> receipts, Milliseconds lease) override;
  void wake() noexcept override { waiter_.wake(); }
  bool commit(const Commit& commit, ResultBackend* results_in) override;
  std::size_t fetched() const noexcept override { return ahead_.size(); }
  std::size_t stale() const noexcept override { return stale_; }
  std::vector<Receipt> take_lost() override { return std::exchange(lost_, {}); }
  std::vector<RevokedTask> take_revoked() override { return std::exchange(revoked_, {}); }

 private:
  // Messages that a transaction has taken, which is not committed yet.
  struct Claimed {
    std::vector<Delivery> deliveries;
    std::vector<std::string> metas;  // beside them, still to be decoded
  };
  void claim(std::size_t max);
  Claimed claim_within(Database& database, std::size_t max);
  std::size_t claim_from(Database& database, std::size_t index, std::size_t max, std::int64_t token, Claimed& into);
  void take_in(Claimed claimed);
  std::int64_t queue_number(Database& database, std::size_t index);
  std::int64_t owner(Database& database);
  bool something_waits(Database& database);
  bool rescue_waits(Database& database);
  std::vector<std::int64_t> dead_owners(Database& database);
  std::optional<std::int64_t> next_due(Database& database);
  void learn_revoked(Database& database, std::int64_t now);
  bool room_for_dead(Database& database, std::int64_t message);
  /// Returns which came too late, by their places.
  std::vector<std::uint32_t> apply(Database& database, std::span<const Settlement> settlements);
  void count_late(std::span<const Settlement> settlements, std::span<const std::uint32_t> late);
  void promote_parked(Database& database, std::int64_t now);
  void rescue(Database& database);

  Store store_;
  ConsumeOptions options_;
  std::size_t max_message_bytes_;
  std::size_t max_dead_letters_;
  Waiter waiter_;
  std::vector<Delivery> deliveries_;  // handed out by the last next()
  std::vector<Delivery> ahead_;       // claimed for the following one
  std::int64_t owner_ = 0;
  std::size_t rotation_ = 0;  // which queue is asked first
  SteadyPoint rescue_at_{};
  std::size_t stale_ = 0;
  std::vector<Receipt> lost_;
  std::vector<RevokedTask> revoked_;  // not told yet
  std::int64_t revoked_seen_ = 0;
  std::map<std::int64_t, std::int64_t>
      dead_uncounted_;                       // dead letters that may be added to a queue before counting again
  std::vector<std::int64_t> queue_numbers_;  // beside options_.queues
  Sweep sweep_;
};

}  // namespace errand::sqlite
