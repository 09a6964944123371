#pragma once
// RedisConsumer: fetches in one atomic step, holds messages under leases, settles with results in one step.

#include "brokers/redis/keys.hpp"
#include "brokers/redis/watch.hpp"
#include "wire/redis/connection.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

#include <map>

namespace errand::redis {

class RedisConsumer final : public Consumer {
 public:
  RedisConsumer(Url url, TransportOptions transport, ConsumeOptions options);
  ~RedisConsumer() override;

  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement> settlements) override;
  void extend(std::span<const Receipt> receipts, Milliseconds lease) override;
  void wake() noexcept override { watch_.wake(); }
  bool commit(const Commit& commit, ResultBackend* results_in) override;
  std::size_t stale() const noexcept override { return stale_; }

 private:
  void fetch(std::size_t max);
  void rescue();
  void decode(Delivery& delivery, std::string envelope);
  void append_settlements(std::vector<std::string>& words, std::span<const Settlement> settlements) const;
  void run_settle(std::vector<std::string> words);
  std::vector<std::string> settle_keys() const;
  std::string heartbeat() const;

  Url url_;
  TransportOptions transport_;
  ConsumeOptions options_;
  Keys keys_;
  Connection connection_;
  Watch watch_;
  std::vector<std::string> fetch_keys_;
  std::vector<Delivery> deliveries_;
  std::size_t rotation_ = 0;
  std::optional<SteadyPoint> due_at_;   // when the earliest parked message is due
  SteadyPoint rescue_at_{};
  std::string rescue_cursor_ = "0";
  std::size_t stale_ = 0;
};

}  // namespace errand::redis
