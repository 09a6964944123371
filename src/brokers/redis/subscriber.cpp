#include "brokers/redis/subscriber.hpp"

#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"

#include <errand/error.hpp>

#include <poll.h>
#include <algorithm>
#include <utility>

namespace errand::redis {

namespace {
constexpr Milliseconds kPingEvery{10'000};
constexpr Milliseconds kAnswerWithin{10'000};
}  // namespace

RedisSubscriber::RedisSubscriber(Url url, std::string channel_pattern, const TransportOptions& options)
    : pattern_(std::move(channel_pattern)),
      connection_(std::move(url),
                  {.connect_timeout = options.connect_timeout, .answer_timeout = options.publish_timeout}) {
  subscribe();
}

void RedisSubscriber::subscribe() {
  if (connection_.connected()) return;
  connection_.call({"PSUBSCRIBE", pattern_});
  asked_ = false;
  ping_at_ = std::chrono::steady_clock::now() + kPingEvery;
}

std::span<Delivery> RedisSubscriber::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  if (max == 0) {
    pollfd wake{woken_.fd(), POLLIN, 0};
    while (poll(&wake, 1, deadline.poll_timeout()) <= 0 && !deadline.passed()) {
    }
    woken_.clear();
    return {};
  }
  subscribe();
  for (;;) {
    receive(max);
    if (!deliveries_.empty() || woken_.clear() || deadline.passed()) return deliveries_;
    if (ping_at_ <= std::chrono::steady_clock::now()) {
      if (std::exchange(asked_, true)) {
        connection_.close();
        throw Error({.kind = ErrorKind::unavailable,
                     .operation = "redis.subscribe",
                     .subject = connection_.url().address.text(),
                     .detail = "no answer to a ping within 10s",
                     .code = "ETIMEDOUT"});
      }
      Commands ping;
      ping.add({"PING"});
      connection_.send(ping);
      ping_at_ = std::chrono::steady_clock::now() + kAnswerWithin;
    }
    connection_.wait(deadline.earlier(Deadline::at(ping_at_)), woken_.fd());
  }
}

void RedisSubscriber::receive(std::size_t max) {
  while (deliveries_.size() < max) {
    auto reply = connection_.arrived();
    if (!reply) return;
    asked_ = false;  // whatever comes proves that the line lives
    ping_at_ = std::chrono::steady_clock::now() + kPingEvery;
    // ["pmessage", pattern, channel, envelope]; anything else is the server's own word.
    if (reply->elements.size() != 4 || reply->elements[0].text != "pmessage") continue;
    Delivery& delivery = deliveries_.emplace_back();
    std::string& envelope = reply->elements[3].text;
    try {
      protocol::StoredMessage stored = protocol::read_envelope(envelope);
      delivery.message = std::move(stored.message);
      delivery.route = std::move(stored.route);
    } catch (const protocol::DecodeFailure& failure) {
      delivery.defect = failure.line();
      delivery.raw = std::move(envelope);
    }
  }
}

}  // namespace errand::redis
