#pragma once
// Publisher: the one broker connection a client sends on, its retries and its circuit breaker.
//
// Callers take turns. Nobody holds a lock while the broker is asked, so that a caller who waits for its turn can give
// up at its deadline, or at once when the breaker opens.

#include "client/breaker.hpp"

#include <errand/client.hpp>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace errand::client {

class Publisher {
 public:
  /// Both must outlive the publisher.
  Publisher(const ClientOptions& options, const ClientConnections& connections)
      : options_(options), connections_(connections) {}

  /// Opens the connection if need be; it may not be connected yet.
  BrokerTraits traits();

  /// Declares the queues it has not declared yet, then publishes. Unavailable and overloaded brokers are asked again
  /// until publish_timeout; a lost answer once more with the same ids. Throws as Client::send.
  void publish(std::span<const Envelope> envelopes, const std::set<std::string>& queues);
  /// Sends to everybody subscribed, once.
  void broadcast(const Envelope& envelope);
  /// As Broker::revoke.
  void revoke(std::span<const TaskId> ids);

 private:
  class Turn;
  Broker& opened();
  bool attempt(std::span<const Envelope> envelopes, const std::set<std::string>& queues, std::optional<Error>& lost,
               std::optional<Error>& failure);
  void declare(const std::set<std::string>& queues);
  void note_failure(bool reconnect);
  SteadyPoint now() const { return connections_.clock->steady(); }

  const ClientOptions& options_;
  const ClientConnections& connections_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;  // a caller has its turn; guarded by mutex_, as is the breaker
  Breaker breaker_;
  std::string last_failure_;
  std::optional<BrokerTraits> traits_;
  std::unique_ptr<Broker> broker_;  // belongs to the caller whose turn it is
  std::set<std::string> declared_;  // on this connection
};

}  // namespace errand::client
