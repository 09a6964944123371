#include "protocol/envelope.hpp"

#include "core/base64.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/json_slice.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace errand::protocol {
namespace {

// What the transport writes itself; copies in a message's properties are stale.
constexpr bool transport_property(std::string_view name) {
  return name == "delivery_info" || name == "delivery_tag" || name == "body_encoding" || name == "priority";
}

// Most keys and values are plain ASCII without anything to escape; those skip the JSON writer.
void write_text(std::string& out, std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f && c != '"' && c != '\\';
  });
  if (plain) {
    out += '"';
    out += text;
    out += '"';
  } else {
    write_json(out, Value(text));
  }
}

void write_members(std::string& out, const Object& object, bool properties) {
  bool first = true;
  for (const auto& [key, value] : object) {
    if (properties && transport_property(key)) continue;
    if (!first) out += ", ";
    first = false;
    write_text(out, key);
    out += ": ";
    if (const std::string* text = value.if_text()) {
      write_text(out, *text);
    } else {
      write_json(out, value);
    }
  }
}

Value parse_slice(std::string_view field, std::string_view json) {
  try {
    return parse_json(json);
  } catch (const Error& error) {
    throw DecodeFailure(reason::undecodable, std::string(field), error.detail());
  }
}

std::string parse_text(std::string_view field, std::string_view json) {
  if (json.empty() || json.front() != '"') {
    throw DecodeFailure(reason::undecodable, std::string(field), "expected text, got '" + printable(json, 20) + "'");
  }
  const std::string_view inside = json.substr(1, json.size() - 2);
  if (inside.find('\\') == std::string_view::npos &&
      std::all_of(inside.begin(), inside.end(), [](char c) { return c >= 0x20 && c < 0x7f; })) {
    return std::string(inside);
  }
  return parse_slice(field, json).as_text();
}

Object parse_object(std::string_view field, std::string_view json) {
  Value value = parse_slice(field, json);
  if (!value.is_object()) {
    throw DecodeFailure(reason::undecodable, std::string(field),
                        "expected object, got " + std::string(kind_name(value.kind())));
  }
  return std::move(value.as_object());
}

// Text of a delivery_info member; a missing or null one is "".
std::string optional_text(const Object& object, std::string_view key, std::string_view where) {
  const Value* value = object.find(key);
  if (value == nullptr || value->is_null()) return "";
  if (const std::string* text = value->if_text()) return *text;
  throw DecodeFailure(reason::undecodable, std::string(where) + "." + std::string(key),
                      "expected text, got " + std::string(kind_name(value->kind())));
}

bool is_true(const Value* value) {
  const bool* flag = value != nullptr ? value->if_bool() : nullptr;
  return flag != nullptr && *flag;
}

int read_priority(const Object& properties) {
  const Value* value = properties.find("priority");
  if (value == nullptr) return 0;
  if (const std::int64_t* number = value->if_integer()) {
    return static_cast<int>(std::clamp<std::int64_t>(*number, 0, 9));
  }
  if (const double* number = value->if_number()) return *number >= 9 ? 9 : *number >= 0 ? static_cast<int>(*number) : 0;
  return 0;
}

std::string decode_body(std::string_view json, const std::string& encoding) {
  if (encoding == "base64") {
    if (json.empty() || json.front() != '"') parse_text("envelope.body", json);
    std::string_view inside = json.substr(1, json.size() - 2);
    std::string unescaped;
    if (inside.find('\\') != std::string_view::npos) {  // "\/" is legal JSON and base64 has slashes
      unescaped = parse_text("envelope.body", json);
      inside = unescaped;
    }
    auto body = core::base64_decode(inside);
    if (!body) {
      throw DecodeFailure(reason::undecodable, "envelope.body",
                          "expected base64 (properties.body_encoding), got '" + printable(inside, 20) + "'");
    }
    return *std::move(body);
  }
  if (encoding.empty() || encoding == "utf-8") return parse_text("envelope.body", json);
  throw DecodeFailure(reason::undecodable, "envelope.properties.body_encoding",
                      "expected base64, utf-8 or nothing, got '" + printable(encoding) + "'");
}

}  // namespace

void write_envelope(std::string& out, const Message& message, const Route& route, int priority,
                    std::string_view delivery_tag, bool redelivered) {
  out.reserve(out.size() + message.body.size() / 3 * 4 + 64 * (message.headers.size() + 12));
  out += R"({"body": ")";
  core::base64_append(out, message.body);
  out += R"(", "content-encoding": )";
  write_text(out, message.content_encoding);
  out += R"(, "content-type": )";
  write_text(out, message.content_type);
  out += R"(, "headers": {)";
  write_members(out, message.headers, false);
  out += R"(}, "properties": {)";
  const std::size_t before = out.size();
  write_members(out, message.properties, true);
  if (out.size() != before) out += ", ";
  if (!message.properties.contains("delivery_mode")) out += R"("delivery_mode": 2, )";
  out += R"("delivery_info": {"exchange": )";
  write_text(out, route.exchange);
  out += R"(, "routing_key": )";
  write_text(out, route.routing_key);
  if (redelivered) out += R"(, "redelivered": true)";
  out += R"(}, "priority": )";
  out += static_cast<char>('0' + std::clamp(priority, 0, 9));
  out += R"(, "body_encoding": "base64", "delivery_tag": )";
  write_text(out, delivery_tag);
  out += "}}";
}

std::string encode_envelope(const Envelope& envelope, std::string_view delivery_tag) {
  std::string out;
  write_envelope(out, envelope.message, envelope.route, envelope.priority, delivery_tag);
  return out;
}

StoredMessage read_envelope(std::string_view text) {
  if (text.size() > kMaxEnvelopeBytes) {
    throw DecodeFailure(
        reason::too_large, "envelope",
        "expected at most " + std::to_string(kMaxEnvelopeBytes) + " bytes, got " + std::to_string(text.size()));
  }
  std::optional<std::string_view> body, headers, properties, type, encoding;
  JsonCursor cursor(text, "envelope");
  cursor.expect('{');
  if (!cursor.take('}')) {
    do {
      const std::string_view key = cursor.raw_string();
      cursor.expect(':');
      const std::string_view value = cursor.value();
      // A key given twice counts the last time, as in a Python dict.
      if (key == "body")
        body = value;
      else if (key == "headers")
        headers = value;
      else if (key == "properties")
        properties = value;
      else if (key == "content-type")
        type = value;
      else if (key == "content-encoding")
        encoding = value;
    } while (cursor.take(','));
    cursor.expect('}');
  }
  cursor.end();

  StoredMessage out;
  const auto missing = [](std::string_view field) {
    return DecodeFailure(reason::undecodable, "envelope." + std::string(field), "expected it, but it is missing");
  };
  if (!body) throw missing("body");
  if (!properties) throw missing("properties");
  if (!headers) throw missing("headers");
  out.message.properties = parse_object("envelope.properties", *properties);
  Object& given = out.message.properties;
  out.message.headers = *headers == "null" ? Object{} : parse_object("envelope.headers", *headers);
  out.message.content_type = type && *type != "null" ? parse_text("envelope.content-type", *type) : "";
  out.message.content_encoding =
      encoding && *encoding != "null" ? parse_text("envelope.content-encoding", *encoding) : "";
  out.message.body = decode_body(*body, optional_text(given, "body_encoding", "envelope.properties"));
  out.delivery_tag = optional_text(given, "delivery_tag", "envelope.properties");
  out.priority = read_priority(given);
  out.redelivered = is_true(out.message.headers.find("redelivered"));
  if (const Value* info = given.find("delivery_info"); info != nullptr && !info->is_null()) {
    const Object* object = info->if_object();
    if (object == nullptr) {
      throw DecodeFailure(reason::undecodable, "envelope.properties.delivery_info",
                          "expected object, got " + std::string(kind_name(info->kind())));
    }
    out.route.exchange = optional_text(*object, "exchange", "delivery_info");
    out.route.routing_key = optional_text(*object, "routing_key", "delivery_info");
    out.redelivered = out.redelivered || is_true(object->find("redelivered"));
  }
  for (const std::string_view key : {"delivery_info", "delivery_tag", "body_encoding"}) given.erase(key);
  return out;
}

void write_unacked(std::string& out, std::string_view envelope, const Route& route) {
  out.reserve(out.size() + envelope.size() + route.exchange.size() + route.routing_key.size() + 12);
  out += '[';
  out += envelope;
  out += ", ";
  write_text(out, route.exchange);
  out += ", ";
  write_text(out, route.routing_key);
  out += ']';
}

Unacked read_unacked(std::string_view text) {
  JsonCursor cursor(text, "unacked");
  Unacked out;
  cursor.expect('[');
  out.envelope = cursor.value();
  cursor.expect(',');
  out.route.exchange = parse_text("unacked.exchange", cursor.value());
  cursor.expect(',');
  out.route.routing_key = parse_text("unacked.routing_key", cursor.value());
  cursor.expect(']');
  cursor.end();
  return out;
}

}  // namespace errand::protocol
