#pragma once
// What a row about brokers works with: connections, queues of its own, messages, and waiting with a limit.

#include "conformance/require.hpp"

#include <errand/conformance.hpp>

namespace errand::conformance {

class BrokerContext {
 public:
  BrokerContext(const BrokerUnderTest& subject, Broker& broker, Milliseconds patience);
  ~BrokerContext();
  BrokerContext(const BrokerContext&) = delete;
  BrokerContext& operator=(const BrokerContext&) = delete;

  Broker& broker() noexcept { return broker_; }
  const BrokerTraits& traits() const noexcept { return traits_; }
  std::unique_ptr<Broker> another() const { return subject_.open(); }
  /// A result backend for Consumer::commit; skips the row when there is none.
  std::unique_ptr<ResultBackend> results() const;

  /// A random queue name, declared, and emptied when the row has ended.
  std::string fresh_queue();
  /// The same for a name chosen by the row.
  void adopt(std::string queue) { queues_.push_back(std::move(queue)); }

  std::unique_ptr<Consumer> consumer(const std::string& queue, Milliseconds lease = kLongLease);
  static ConsumeOptions consume_options(std::vector<std::string> queues, Milliseconds lease = kLongLease);

  /// A message as Celery would send it, with this body.
  static Envelope envelope(const std::string& queue, std::string body);
  void publish(const std::string& queue, std::string body) {
    broker_.publish(std::vector{envelope(queue, std::move(body))});
  }

  /// Fetches until it has `count` deliveries or patience ends. Fails the row when fewer came.
  std::vector<Delivery> take(Consumer& consumer, std::size_t count) const;
  Delivery take_one(Consumer& consumer) const { return take(consumer, 1).front(); }
  /// Fails the row when something comes within this time.
  void nothing_comes(Consumer& consumer, Milliseconds within, std::string_view why) const;

  static Settlement settle(const Delivery& delivery, Settlement::Kind kind = Settlement::Kind::ack) {
    return Settlement{.receipt = delivery.receipt, .kind = kind};
  }
  static void ack(Consumer& consumer, const Delivery& delivery) { consumer.settle(std::vector{settle(delivery)}); }
  static void ack(Consumer& consumer, std::span<const Delivery> deliveries);

  Deadline soon() const noexcept { return Deadline::after(patience_); }
  static TimePoint wall() noexcept;
  /// Shown beside the row's name when it passed.
  void note(std::string text) { note_ = std::move(text); }
  const std::string& noted() const noexcept { return note_; }

  static constexpr Milliseconds kLongLease{60'000};
  static constexpr Milliseconds kShortLease{1'000};
  /// Long enough to notice what should not come, short enough to wait for often.
  static constexpr Milliseconds kAWhile{150};

 private:
  const BrokerUnderTest& subject_;
  Broker& broker_;
  BrokerTraits traits_;
  Milliseconds patience_;
  std::vector<std::string> queues_;
  std::string note_;
};

/// The body, which the rows use as the name of a message.
inline const std::string& body(const Delivery& delivery) { return delivery.message.body; }

}  // namespace errand::conformance
