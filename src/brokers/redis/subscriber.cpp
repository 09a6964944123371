#include "brokers/redis/subscriber.hpp"

#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"
#include "protocol/topic.hpp"

#include <poll.h>

namespace errand::redis {

RedisSubscriber::RedisSubscriber(Url url, const TransportOptions& options, Route pattern)
    : channel_(options.key_prefix + protocol::fanout_pattern(url.database, pattern.exchange, pattern.routing_key)),
      connection_(url, options.connect_timeout, options.publish_timeout) {
  subscribe();
}

void RedisSubscriber::subscribe() {
  if (connection_.connected()) return;
  connection_.call({"PSUBSCRIBE", channel_});
}

std::span<Delivery> RedisSubscriber::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  subscribe();
  for (;;) {
    receive(max);
    if (!deliveries_.empty() || woken_.clear() || deadline.passed()) return deliveries_;
    pollfd waits[2] = {{woken_.fd(), POLLIN, 0}, {connection_.fd(), POLLIN, 0}};
    poll(waits, 2, deadline.poll_timeout());
  }
}

void RedisSubscriber::receive(std::size_t max) {
  while (deliveries_.size() < max) {
    const auto reply = connection_.poll_reply();
    if (!reply) return;
    // ["pmessage", pattern, channel, envelope]; anything else is the server's own word about the subscription.
    if (reply->elements.size() != 4 || reply->elements[0].text != "pmessage") continue;
    Delivery& delivery = deliveries_.emplace_back();
    const std::string& envelope = reply->elements[3].text;
    try {
      protocol::StoredMessage stored = protocol::read_envelope(envelope);
      delivery.message = std::move(stored.message);
      delivery.route = std::move(stored.route);
    } catch (const protocol::DecodeFailure& failure) {
      delivery.defect = failure.line();
      delivery.raw = envelope;
    }
  }
}

}  // namespace errand::redis
