// What a message carries comes back unchanged, whatever its size.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

namespace errand::conformance {

namespace {

Delivery there_and_back(BrokerContext& c, const Envelope& envelope) {
  auto consumer = c.consumer(envelope.route.routing_key);
  c.broker().publish(std::span(&envelope, 1));
  Delivery delivery = c.take_one(*consumer);
  require_equal("", delivery.defect, "a message that was sent whole has no defect");
  c.ack(*consumer, delivery);
  return delivery;
}

void empty_body(BrokerContext& c) {
  require_equal("", body(there_and_back(c, c.envelope(c.fresh_queue(), ""))), "an empty body stays empty");
}

void binary_body(BrokerContext& c) {
  std::string bytes;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  }
  bytes += "\r\n";
  bytes.push_back('\0');
  require_equal(bytes, body(there_and_back(c, c.envelope(c.fresh_queue(), bytes))), "every byte comes back");
}

void large_body(BrokerContext& c) {
  const std::size_t limit = c.traits().max_message_bytes;
  std::size_t size = 4u << 20;
  if (limit != 0 && limit < 2 * size) size = limit / 2;
  std::string bytes(size, 'x');
  for (std::size_t i = 0; i < bytes.size(); i += 997) bytes[i] = static_cast<char>(i % 251);
  require(bytes == body(there_and_back(c, c.envelope(c.fresh_queue(), bytes))), "a body of megabytes comes back");
  c.note(std::to_string(size) + " bytes");
}

void size_limit(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const std::vector<Envelope> batch{c.envelope(queue, "small"),
                                    c.envelope(queue, std::string(c.traits().max_message_bytes + 1, 'x'))};
  require_error(ErrorKind::invalid, "a message over the limit is refused", [&] { c.broker().publish(batch); });
  auto consumer = c.consumer(queue);
  c.nothing_comes(*consumer, c.kAWhile, "nothing of a refused batch was sent");
  c.publish(queue, "after");
  c.ack(*consumer, c.take_one(*consumer));
}

void headers_survive(BrokerContext& c) {
  Envelope sent = c.envelope(c.fresh_queue(), "{}");
  sent.message.headers.set("x-unknown", Value::object({{"nested", Value::array({1, 2.5, true, nullptr, "text"})},
                                                       {"empty", Value::object()}}));
  sent.message.headers.set("x-text",
                           "Gr\xc3\xbc\xc3\x9f"
                           "e \xe2\x82\xac \xf0\x9f\x90\x9d, \"quoted\" \\ back\tslash\n");
  sent.message.headers.set("x-integers",
                           Value::array({std::int64_t{9'007'199'254'740'993}, std::int64_t{-1}, std::int64_t{0}}));
  sent.message.headers.set("x-empty", "");
  sent.message.properties.set("x-property", Value::array({"kept", 1}));
  sent.message.content_type = "application/x-python-serialize";
  sent.message.content_encoding = "binary";
  const Delivery got = there_and_back(c, sent);
  for (const auto& [name, value] : sent.message.headers) {
    const Value* found = got.message.headers.find(name);
    require(found != nullptr && *found == value, "header " + name + " comes back");
  }
  for (const auto& [name, value] : sent.message.properties) {
    const Value* found = got.message.properties.find(name);
    require(found != nullptr && *found == value, "property " + name + " comes back");
  }
  require_equal(sent.message.content_type, got.message.content_type, "the content type comes back");
  require_equal(sent.message.content_encoding, got.message.content_encoding, "the content encoding comes back");
}

void no_headers(BrokerContext& c) {
  Envelope sent = c.envelope(c.fresh_queue(), R"({"task": "protocol.one", "id": "1", "args": [], "kwargs": {}})");
  sent.message.headers = Object();
  const Delivery got = there_and_back(c, sent);
  require_equal(sent.message.body, body(got), "a message without headers, as protocol 1 has it, comes back");
}

void route_is_told(BrokerContext& c) {
  const Envelope sent = c.envelope(c.fresh_queue(), "x");
  const Delivery got = there_and_back(c, sent);
  require_equal(sent.route.exchange, got.route.exchange, "the exchange comes back as it was sent");
  require_equal(sent.route.routing_key, got.route.routing_key, "the routing key comes back as it was sent");
  require_equal(sent.route.routing_key, got.receipt.queue, "the receipt names the queue");
}

constexpr BrokerCheck kRows[] = {
    {"content.empty", "an empty body stays empty", nullptr, empty_body},
    {"content.binary", "every byte of a body comes back", nullptr, binary_body},
    {"content.large", "a body of megabytes comes back", nullptr, large_body},
    {"content.headers", "headers, properties and content types come back, also those nobody knows", nullptr,
     headers_survive},
    {"content.no-headers", "a message of protocol 1, without headers, comes back", nullptr, no_headers},
    {"content.route", "a delivery tells the route it was sent to and the queue it came from", nullptr, route_is_told},
    {"size.limit", "a message over the limit is refused before anything is sent",
     [](const BrokerTraits& t) { return t.max_message_bytes != 0; }, size_limit},
};

}  // namespace

std::span<const BrokerCheck> content_rows() { return kRows; }

}  // namespace errand::conformance
