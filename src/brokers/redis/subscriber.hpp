#pragma once
// RedisSubscriber: broadcasts over pub/sub (celery-wire section 2.8).

#include "core/fd.hpp"
#include "wire/redis/connection.hpp"

#include <errand/broker.hpp>
#include <errand/drivers.hpp>

namespace errand::redis {

class RedisSubscriber final : public Consumer {
 public:
  RedisSubscriber(Url url, const TransportOptions& options, Route pattern);
  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement>) override {}
  void extend(std::span<const Receipt>, Milliseconds) override {}
  void wake() noexcept override { woken_.signal(); }

 private:
  void subscribe();
  void receive(std::size_t max);
  std::string channel_;
  Connection connection_;
  core::EventFd woken_;
  std::vector<Delivery> deliveries_;
};

}  // namespace errand::redis
