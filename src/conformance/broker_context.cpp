#include "conformance/broker_context.hpp"

#include "core/uuid.hpp"

#include <algorithm>

namespace errand::conformance {

BrokerContext::BrokerContext(const BrokerUnderTest& subject, Broker& broker, Milliseconds patience)
    : subject_(subject), broker_(broker), traits_(broker.traits()), patience_(patience) {}

BrokerContext::~BrokerContext() {
  for (const std::string& queue : queues_) {
    try {
      broker_.purge(queue);
      for (;;) {
        std::vector<std::string> ids;
        for (const DeadLetter& letter : broker_.dead_letters(queue, 100, "")) ids.push_back(letter.id);
        if (ids.empty() || broker_.drop_dead(queue, ids) == 0) break;
      }
    } catch (const Error&) {
      // What a broken driver leaves behind cannot be tidied with that driver.
    }
  }
}

std::unique_ptr<ResultBackend> BrokerContext::results() const {
  if (!subject_.open_results) throw Skipped{"no result backend was given"};
  return subject_.open_results();
}

std::string BrokerContext::fresh_queue() {
  std::string name = "errand-check-" + core::uuid4();
  queues_.push_back(name);
  broker_.declare(Topology{{QueueSpec{.name = name, .exchange = "", .routing_key = ""}}});
  return name;
}

ConsumeOptions BrokerContext::consume_options(std::vector<std::string> queues, Milliseconds lease) {
  return ConsumeOptions{.queues = std::move(queues), .owner = "check-" + core::uuid4(), .lease = lease};
}

std::unique_ptr<Consumer> BrokerContext::consumer(const std::string& queue, Milliseconds lease) {
  return broker_.consume(consume_options({queue}, lease));
}

Envelope BrokerContext::envelope(const std::string& queue, std::string body) {
  const std::string id = core::uuid4();
  Envelope envelope;
  envelope.route = {"", queue};
  envelope.message.headers = Object{{"lang", "py"},  {"task", "errand.check"}, {"id", id},
                                    {"root_id", id}, {"parent_id", Value()},   {"group", Value()},
                                    {"retries", 0},  {"eta", Value()},         {"expires", Value()}};
  envelope.message.properties = Object{{"correlation_id", id}, {"reply_to", "errand-check"}, {"delivery_mode", 2}};
  envelope.message.body = std::move(body);
  return envelope;
}

std::vector<Delivery> BrokerContext::take(Consumer& consumer, std::size_t count) const {
  std::vector<Delivery> taken;
  const Deadline deadline = soon();
  while (taken.size() < count) {
    std::span<Delivery> got = consumer.next(count - taken.size(), deadline);
    if (got.size() > count - taken.size()) throw Failed{"next() gave more deliveries than it was asked for"};
    std::move(got.begin(), got.end(), std::back_inserter(taken));
    if (got.empty() && deadline.passed()) break;
  }
  if (taken.size() < count) {
    throw Failed{"expected " + std::to_string(count) + " deliveries within " + std::to_string(patience_.count()) +
                 " ms, got " + std::to_string(taken.size())};
  }
  return taken;
}

void BrokerContext::nothing_comes(Consumer& consumer, Milliseconds within, std::string_view why) const {
  const Deadline deadline = Deadline::after(within);
  do {
    require(consumer.next(1, deadline).empty(), why);
  } while (!deadline.passed());
}

void BrokerContext::ack(Consumer& consumer, std::span<const Delivery> deliveries) {
  std::vector<Settlement> settlements;
  settlements.reserve(deliveries.size());
  for (const Delivery& delivery : deliveries) settlements.push_back(settle(delivery));
  consumer.settle(settlements);
}

TimePoint BrokerContext::wall() noexcept {
  return std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
}

}  // namespace errand::conformance
