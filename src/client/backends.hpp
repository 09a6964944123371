#pragma once
// Backends: connections to the result store, lent to one waiting caller each.
//
// Waiting for a result may take long, so a caller has a connection of its own and nobody holds a lock meanwhile.

#include <errand/client.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace errand::client {

/// Most connections to the result store of one client; callers beyond it wait for one until their deadline.
inline constexpr std::size_t kMostBackends = 64;

class Backends {
 public:
  explicit Backends(const ClientConnections& connections) : connections_(connections) {}

  /// One connection, given back at the end of its life.
  class Lease {
   public:
    explicit Lease(Backends& owner) : owner_(&owner) {}
    Lease(Lease&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), backend_(std::move(other.backend_)), broken_(other.broken_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    ResultBackend* operator->() const noexcept { return backend_.get(); }
    /// The connection broke: do not lend it again.
    void drop() noexcept { broken_ = true; }

   private:
    friend class Backends;
    Backends* owner_;
    std::unique_ptr<ResultBackend> backend_;
    bool broken_ = false;
  };

  /// Throws Error{unsupported} when there is no result backend, {overloaded} when none is free by the deadline.
  Lease lend(Deadline deadline, TaskIdView task);

 private:
  const ClientConnections& connections_;
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<ResultBackend>> idle_;
  std::size_t lent_ = 0;
};

}  // namespace errand::client
