#pragma once
// The connections of one client: one broker for sending, result backends lent to whoever waits. After a fork the
// child leaves the parent's alone, without closing them, and opens its own (fault F011).

#include "client/breaker.hpp"

#include <errand/client.hpp>

#include <condition_variable>
#include <mutex>

namespace errand::client {

class Connections {
 public:
  Connections(const ClientOptions& options, std::unique_ptr<Broker> broker, std::unique_ptr<ResultBackend> results);
  ~Connections();

  /// Runs `use` with the broker, alone. Reconnecting is the driver's business.
  template <class F>
  auto with_broker(F&& use) {
    const std::lock_guard lock(broker_mutex_);
    after_fork();
    if (!broker_) broker_ = open_broker(options_.broker_url, options_.transport);
    return use(*broker_, breaker_);
  }

  /// A result backend for one caller at a time; nullptr when there is none. At most kMostBackends are opened, then
  /// callers wait for one until the deadline and get Error{overloaded}.
  class Lease {
   public:
    Lease(Connections& owner, std::unique_ptr<ResultBackend> backend) : owner_(&owner), backend_(std::move(backend)) {}
    Lease(Lease&&) noexcept = default;
    ~Lease();
    ResultBackend* operator->() const noexcept { return backend_.get(); }
    ResultBackend& operator*() const noexcept { return *backend_; }

   private:
    Connections* owner_;
    std::unique_ptr<ResultBackend> backend_;
  };
  static constexpr std::size_t kMostBackends = 64;
  std::optional<Lease> backend(Deadline deadline);

 private:
  void after_fork();
  const ClientOptions& options_;
  int pid_;
  std::mutex broker_mutex_;
  std::unique_ptr<Broker> broker_;
  Breaker breaker_;
  std::mutex backend_mutex_;
  std::condition_variable backend_free_;
  std::vector<std::unique_ptr<ResultBackend>> idle_;
  std::size_t opened_ = 0;
  bool has_results_ = true;
  bool injected_ = false;
};

}  // namespace errand::client
