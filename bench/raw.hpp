#pragma once
// Raw clients: the broker operations of a worker without a worker. They take what Errand's own client has sent, in
// batches of a given size, and write a result record and an acknowledgement for each, in as few round trips or
// transactions as the store allows: the last batch is completed in the step that fetches the next. They decode
// nothing, run nothing, and cannot tell whose a message is. What is left is the cost of the store.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace errand::bench {

/// A message's bytes as the store keeps them.
struct RawMessage {
  std::string head;  ///< SQLite: `meta`; Redis: the whole envelope
  std::string body;
};

class RawClient {
 public:
  virtual ~RawClient() = default;
  /// Takes every waiting message out, unrecorded: what publish() is fed with later.
  virtual std::vector<RawMessage> take_all() = 0;
  virtual void publish(const std::vector<RawMessage>& messages, std::size_t batch) = 0;
  /// Completes what the last call returned and fetches up to `batch`; returns how many it got.
  virtual std::size_t cycle(std::size_t batch) = 0;
};

std::unique_ptr<RawClient> raw_redis(const std::string& host, int port, int database);
std::unique_ptr<RawClient> raw_sqlite(const std::string& path);

}  // namespace errand::bench
