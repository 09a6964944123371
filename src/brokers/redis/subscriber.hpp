#pragma once
// RedisSubscriber: broadcasts over pub/sub (celery-wire section 2.8). Nothing is settled, and what is sent while
// nobody listens is gone.

#include "core/fd.hpp"
#include "wire/redis/connection.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

namespace errand::redis {

class RedisSubscriber final : public Consumer {
 public:
  /// Subscribed when it returns.
  RedisSubscriber(Url url, std::string channel_pattern, const TransportOptions& options);
  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement>) override {}
  void extend(std::span<const Receipt>, Milliseconds) override {}
  void wake() noexcept override { woken_.signal(); }

 private:
  void subscribe();
  void receive(std::size_t max);
  std::string pattern_;
  Connection connection_;
  core::EventFd woken_;
  std::vector<Delivery> deliveries_;
  bool asked_ = false;     // a ping is on its way
  SteadyPoint ping_at_{};  // or its answer is due
};

}  // namespace errand::redis
