#include "protocol/content.hpp"

#include "protocol/decode_failure.hpp"

#include <array>
#include <string>
#include <utility>

namespace errand::protocol {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kSerializers{
    {{"application/json", "json"},
     {"application/x-python-serialize", "pickle"},
     {"application/x-yaml", "yaml"},
     {"application/yaml", "yaml"},
     {"application/x-msgpack", "msgpack"},
     {"application/msgpack", "msgpack"},
     {"text/plain", "text"},
     {"application/data", "raw"}}};

// kombu hands "binary" bodies to the JSON reader as bytes, which Python takes for UTF-8.
constexpr std::array<std::string_view, 6> kUtf8Names{"utf-8", "UTF-8", "utf8", "us-ascii", "ascii", "binary"};

}  // namespace

std::string_view serializer_name(std::string_view content_type) noexcept {
  for (const auto& [type, name] : kSerializers) {
    if (type == content_type) return name;
  }
  return "";
}

void require_json(const Message& message) {
  if (message.content_type != kJsonContent) {
    const std::string_view known = serializer_name(message.content_type);
    throw DecodeFailure(reason::content_disallowed, "content-type",
                        "expected application/json, got " + printable(message.content_type) +
                            (known.empty() ? "" : " (" + std::string(known) + ")") +
                            "; let the sender use the json serializer");
  }
  for (const std::string_view name : kUtf8Names) {
    if (name == message.content_encoding) return;
  }
  throw DecodeFailure(reason::content_disallowed, "content-encoding",
                      "expected utf-8, got " + printable(message.content_encoding));
}

}  // namespace errand::protocol
