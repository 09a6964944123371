#pragma once
// Messages and checks of the SQLite fault tests.

#include "support/child.hpp"
#include "support/folder.hpp"

#include <errand/drivers.hpp>

#include <string>
#include <vector>

namespace errand::testing {

inline std::string url_of(const Folder& folder) { return "sqlite:///" + folder.file(); }

inline Envelope message(const std::string& id) {
  Envelope envelope;
  envelope.route = {"", "q"};
  envelope.message.headers = Object{{"id", id}, {"task", "noop"}};
  envelope.message.body = std::string(300, 'b');
  return envelope;
}

inline std::string id_of(const Delivery& delivery) { return delivery.message.headers.at("id").as_text(); }

inline ConsumeOptions from_q(const std::string& owner, Milliseconds lease = Milliseconds{60'000}) {
  return {.queues = {"q"}, .owner = owner, .lease = lease};
}

inline void ack_all(Consumer& consumer, std::span<const Delivery> deliveries) {
  std::vector<Settlement> settlements;
  for (const Delivery& delivery : deliveries) settlements.push_back({.receipt = delivery.receipt});
  consumer.settle(settlements);
}

/// What waits in the queue, acknowledged on the way.
std::vector<std::string> drain(const std::string& url);
/// SQLite's own verdict on the file: "ok".
std::string integrity(const Folder& folder);

}  // namespace errand::testing
