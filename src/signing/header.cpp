#include "signing/header.hpp"

#include "core/base64.hpp"
#include "core/text.hpp"
#include "signing/key.hpp"

#include <errand/signing.hpp>

#include <algorithm>
#include <array>
#include <limits>

namespace errand::signing {

namespace {

constexpr std::string_view kVersion = "1";
constexpr std::size_t kMostKeyId = 64;

// Written by kombu when it gives a message back, and by RabbitMQ when a message is dead-lettered or delivered again
// (rabbitmq.com/docs/dlx and docs/quorum-queues). Tasks can see the other headers, whatever they are called.
constexpr std::array<std::string_view, 12> kWrittenOnTheWay{"redelivered",           "x-death",
                                                            "x-first-death-queue",   "x-first-death-exchange",
                                                            "x-first-death-reason",  "x-last-death-queue",
                                                            "x-last-death-exchange", "x-last-death-reason",
                                                            "x-delivery-count",      "x-acquired-count",
                                                            "x-received-from",       kSignatureHeader};

bool is_carried(std::string_view name) {
  return std::find(kWrittenOnTheWay.begin(), kWrittenOnTheWay.end(), name) == kWrittenOnTheWay.end();
}

// By name: a table of AMQP or a rewritten JSON object may come in another order.
Object sorted_headers(const Object& headers) {
  std::vector<Object::Member> members;
  for (const auto& [name, value] : headers) {
    if (is_carried(name)) members.emplace_back(name, value);
  }
  std::sort(members.begin(), members.end(),
            [](const Object::Member& a, const Object::Member& b) { return a.first < b.first; });
  return Object(std::move(members));
}

// An unset property and an empty one are the same on some transports.
Value property(const Message& message, std::string_view name) {
  const Value* value = message.properties.find(name);
  return value == nullptr || value->is_null() ? Value("") : *value;
}

std::string issued_text(TimePoint issued) { return std::to_string(issued.time_since_epoch().count()); }

}  // namespace

bool is_key_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMostKeyId && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

std::string format_header(const SignatureHeader& header) {
  std::string text(kVersion);
  for (const std::string& field : {header.key_id, header.algorithm, issued_text(header.issued), header.nonce,
                                   core::base64_encode(header.signature)}) {
    text += ';';
    text += field;
  }
  return text;
}

std::optional<SignatureHeader> parse_header(std::string_view text) {
  if (text.size() > kMostHeaderBytes) return std::nullopt;
  std::array<std::string_view, 6> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t end = text.find(';');
    if ((end == std::string_view::npos) != (i + 1 == fields.size())) return std::nullopt;
    fields[i] = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  const auto issued = core::parse_number(fields[3], std::numeric_limits<std::int64_t>::max());
  const auto nonce = core::base64_decode(fields[4]);
  auto signature = core::base64_decode(fields[5]);
  const bool whole = fields[0] == kVersion && is_key_id(fields[1]) && is_key_id(fields[2]) && issued && nonce &&
                     nonce->size() == kNonceBytes && signature && !signature->empty();
  if (!whole) return std::nullopt;
  return SignatureHeader{.key_id = std::string(fields[1]),
                         .algorithm = std::string(fields[2]),
                         .issued = TimePoint(Microseconds(static_cast<std::int64_t>(*issued))),
                         .nonce = std::string(fields[4]),
                         .signature = std::move(*signature)};
}

std::string signed_bytes(const Message& message, const Route& route, const SignatureHeader& header) {
  // A list, so that nothing depends on how a map is written; the first words keep it apart from anything else that a
  // key might ever sign.
  return to_json(
      Value::array({"errand message", kVersion, header.key_id, header.algorithm, issued_text(header.issued),
                    header.nonce, route.exchange, route.routing_key, message.content_type, message.content_encoding,
                    property(message, "correlation_id"), property(message, "reply_to"), sorted_headers(message.headers),
                    sha256_hex(message.body)}));
}

}  // namespace errand::signing
