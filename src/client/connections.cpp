#include "client/connections.hpp"

#include <unistd.h>

namespace errand::client {

Connections::Connections(const ClientOptions& options, std::unique_ptr<Broker> broker, std::unique_ptr<ResultBackend> results)
    : options_(options), pid_(getpid()), broker_(std::move(broker)) {
  injected_ = broker_ != nullptr;
  has_results_ = injected_ ? results != nullptr : options.result_backend_url != "disabled";
  if (results) {
    idle_.push_back(std::move(results));
    opened_ = kMostBackends;  // an injected backend is the only one
  }
}

Connections::~Connections() {
  if (getpid() == pid_) return;
  static_cast<void>(broker_.release());
  for (auto& one : idle_) static_cast<void>(one.release());
}

// With broker_mutex_ held. What the parent opened is leaked on purpose: closing it properly would write to sockets
// that the parent still uses.
void Connections::after_fork() {
  if (injected_ || pid_ == getpid()) return;
  pid_ = getpid();
  static_cast<void>(broker_.release());
  const std::lock_guard lock(backend_mutex_);
  for (auto& one : idle_) static_cast<void>(one.release());
  idle_.clear();
  opened_ = 0;
}

std::optional<Connections::Lease> Connections::backend(Deadline deadline) {
  if (!has_results_) return std::nullopt;
  {
    const std::lock_guard lock(broker_mutex_);
    after_fork();
  }
  std::unique_lock lock(backend_mutex_);
  while (idle_.empty() && opened_ >= kMostBackends) {
    if (const auto point = deadline.point()) {
      if (backend_free_.wait_until(lock, *point) == std::cv_status::timeout && idle_.empty()) {
        throw Error({.kind = ErrorKind::overloaded, .operation = "client.result",
                     .detail = "expected a free connection within the deadline, all " + std::to_string(kMostBackends) + " are waiting for results"});
      }
    } else {
      backend_free_.wait(lock);
    }
  }
  if (!idle_.empty()) {
    auto one = std::move(idle_.back());
    idle_.pop_back();
    return Lease(*this, std::move(one));
  }
  const std::string& url = options_.result_backend_url.empty() ? options_.broker_url : options_.result_backend_url;
  auto one = open_result_backend(url, options_.transport);
  opened_ += 1;
  return Lease(*this, std::move(one));
}

Connections::Lease::~Lease() {
  if (!backend_) return;
  {
    const std::lock_guard lock(owner_->backend_mutex_);
    owner_->idle_.push_back(std::move(backend_));
  }
  owner_->backend_free_.notify_one();
}

}  // namespace errand::client
