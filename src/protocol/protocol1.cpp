#include "protocol/protocol1.hpp"

#include "protocol/body.hpp"
#include "protocol/content.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/saferepr.hpp"

#include <array>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>

namespace errand::protocol {
namespace {

const Value* find_set(const Object& object, std::string_view key) {
  const Value* value = object.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Value or_null(const Object& object, std::string_view key) {
  const Value* value = object.find(key);
  return value == nullptr ? Value() : *value;
}

bool has_offset(std::string_view text) {
  const std::size_t clock = text.find(':');
  return clock != std::string_view::npos && text.find_first_of("+-Zz", clock) != std::string_view::npos;
}

// A sender with enable_utc off writes its local time without offset and `utc: false`; it means the local time of
// whoever reads it. Everything else without offset is UTC.
Value time_header(const Object& body, std::string_view key, bool utc) {
  const Value* value = find_set(body, key);
  if (value == nullptr) return {};
  const std::string* text = value->if_text();
  if (text == nullptr || utc || has_offset(*text)) return *value;
  const auto as_utc = read_time(*text);
  if (!as_utc) return *value;  // reported with its name when the headers are decoded
  const auto whole = std::chrono::floor<std::chrono::seconds>(*as_utc);
  const std::time_t naive = whole.time_since_epoch().count();
  std::tm fields{};
  if (gmtime_r(&naive, &fields) == nullptr) return *value;
  fields.tm_isdst = -1;
  const std::time_t local = std::mktime(&fields);
  if (local == -1) return *value;
  return write_time(TimePoint{std::chrono::seconds{local}} + (*as_utc - whole));
}

Object parse_object_body(const std::string& text) {
  try {
    Value value = parse_json(text, {.depth = kEmbedJsonDepth});
    if (Object* object = value.if_object()) return std::move(*object);
    throw DecodeFailure(reason::not_a_task, "body",
                        "expected a header `task` or an object as body, got " + std::string(kind_name(value.kind())));
  } catch (const DecodeFailure&) {
    throw;
  } catch (const Error& error) {
    throw DecodeFailure(reason::undecodable, "body", error.detail());
  }
}

}  // namespace

bool is_protocol1(const Message& message) noexcept {
  if (!message.headers.contains("task")) return true;
  if (find_set(message.headers, "compression") != nullptr) return false;
  const std::size_t first = message.body.find_first_not_of(" \t\r\n");
  return first != std::string::npos && message.body[first] == '{';
}

Message upgrade_protocol1(const Message& message) {
  require_json(message);
  const Object body = parse_object_body(unpacked_body(message));
  const bool hybrid = message.headers.contains("task");
  if (!hybrid && !body.contains("task")) {
    throw DecodeFailure(reason::not_a_task, "body",
                        "expected a task (headers or body with `task` and `id`), got neither");
  }
  const Value* utc = body.find("utc");
  const bool is_utc = utc == nullptr || utc->if_bool() == nullptr || utc->as_bool();

  const Value* args = find_set(body, "args");
  const Value* kwargs = find_set(body, "kwargs");
  if (args != nullptr && !args->is_array()) {
    throw DecodeFailure(reason::bad_body, "args", "expected array, got " + std::string(kind_name(args->kind())));
  }
  if (kwargs != nullptr && !kwargs->is_object()) {
    throw DecodeFailure(reason::bad_body, "kwargs", "expected object, got " + std::string(kind_name(kwargs->kind())));
  }
  const Array no_args;
  const Object no_kwargs;
  const Array& positional = args != nullptr ? args->as_array() : no_args;
  const Object& named = kwargs != nullptr ? kwargs->as_object() : no_kwargs;

  Message out = message;
  Object headers;
  headers.set("lang", or_null(body, "lang"));
  for (const std::string_view key : {"task", "id", "shadow"}) headers.set(std::string(key), or_null(body, key));
  headers.set("eta", time_header(body, "eta", is_utc));
  headers.set("expires", time_header(body, "expires", is_utc));
  // `taskset` is the old name of the group and wins where both are given.
  headers.set("group", find_set(body, "taskset") != nullptr ? or_null(body, "taskset") : or_null(body, "group"));
  headers.set("group_index", or_null(body, "group_index"));
  headers.set("retries", find_set(body, "retries") != nullptr ? or_null(body, "retries") : Value(0));
  headers.set("timelimit", or_null(body, "timelimit"));
  headers.set("root_id", or_null(body, "root_id"));
  headers.set("parent_id", or_null(body, "parent_id"));
  headers.set("argsrepr", args_repr(positional));
  headers.set("kwargsrepr", kwargs_repr(named));
  headers.set("origin", or_null(body, "origin"));
  for (const auto& [name, value] : message.headers) headers.set(name, value);
  headers.erase("compression");
  // Protocol 1 tells nothing of the workflow; a task without a root is its own.
  if (find_set(headers, "root_id") == nullptr) headers.set("root_id", or_null(headers, "id"));
  out.headers = std::move(headers);

  Object embed;
  for (const std::string_view key : {"callbacks", "errbacks", "chord"}) embed.set(std::string(key), or_null(body, key));
  out.body = encode_body(positional, named, read_embed(Value(std::move(embed))), {.typed_bytes = true});
  out.content_type = kJsonContent;
  out.content_encoding = "utf-8";
  return out;
}

}  // namespace errand::protocol
