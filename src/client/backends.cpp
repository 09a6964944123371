#include "client/backends.hpp"

#include <utility>

namespace errand::client {

Backends::Lease Backends::lend(Deadline deadline, TaskIdView task) {
  if (!connections_.results) {
    throw Error({.kind = ErrorKind::unsupported,
                 .operation = "result",
                 .subject = std::string(task),
                 .detail = "expected a result backend, none is configured; set result_backend"});
  }
  std::unique_lock lock(mutex_);
  const auto free = [&] { return lent_ < kMostBackends; };
  if (const auto point = deadline.point()) {
    given_back_.wait_until(lock, *point, free);
  } else {
    given_back_.wait(lock, free);
  }
  if (!free()) {
    throw Error({.kind = ErrorKind::overloaded,
                 .operation = "result",
                 .subject = std::string(task),
                 .detail = "expected a free connection by the deadline, all " + std::to_string(kMostBackends) +
                           " are waiting for results"});
  }
  lent_ += 1;
  Lease lease(*this);
  if (!idle_.empty()) {
    lease.backend_ = std::move(idle_.back());
    idle_.pop_back();
  }
  lock.unlock();
  if (!lease.backend_) lease.backend_ = connections_.results();
  return lease;
}

Backends::Lease::~Lease() {
  if (owner_ == nullptr) return;
  {
    const std::lock_guard lock(owner_->mutex_);
    owner_->lent_ -= 1;
    if (backend_ && !broken_) owner_->idle_.push_back(std::move(backend_));
  }
  owner_->given_back_.notify_one();
}

}  // namespace errand::client
