#include "protocol/body.hpp"

#include "protocol/compression.hpp"
#include "protocol/content.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/json_slice.hpp"

#include <utility>
#include <vector>

namespace errand::protocol {
namespace {

// What Celery and Errand write when a task has no followers, which is most of the time.
constexpr std::string_view kNoEmbed = R"({"callbacks": null, "errbacks": null, "chain": null, "chord": null})";

// Runs a reader of the value module and turns its error into ours.
template <class F>
auto reading(std::string_view field, F&& read) {
  try {
    return read();
  } catch (const DecodeFailure&) {
    throw;
  } catch (const Error& error) {
    throw DecodeFailure(reason::undecodable, std::string(field), error.detail());
  }
}

Value parse_part(std::string_view field, std::string_view json, const JsonLimits& limits = {}) {
  return reading(field, [&] {
    Value value = parse_json(json, limits);
    decode_typed(value);
    return value;
  });
}

[[noreturn]] void wrong_type(std::string_view field, std::string_view expected, const Value& got) {
  throw DecodeFailure(reason::bad_body, std::string(field),
                      "expected " + std::string(expected) + ", got " + std::string(kind_name(got.kind())));
}

Array take_signatures(Object& embed, std::string_view name) {
  Value* value = embed.find(name);
  if (value == nullptr || value->is_null()) return {};
  Array* list = value->if_array();
  const std::string field = "embed." + std::string(name);
  if (list == nullptr) wrong_type(field, "array or null", *value);
  for (const Value& item : *list) {
    if (!item.is_object()) wrong_type(field, "array of objects", item);
  }
  return std::move(*list);
}

// Counts objects that look like signatures with a worklist, so that hostile nesting costs no stack.
void check_limits(const Embed& embed) {
  struct Item {
    const Value* value;
    std::size_t depth;
  };
  std::vector<Item> work;
  for (const Array* list : {&embed.callbacks, &embed.errbacks, &embed.chain}) {
    for (const Value& item : *list) work.push_back({&item, 1});
  }
  work.push_back({&embed.chord, 1});
  std::size_t links = 0;
  while (!work.empty()) {
    const Item item = work.back();
    work.pop_back();
    if (const Array* array = item.value->if_array()) {
      for (const Value& inner : *array) work.push_back({&inner, item.depth});
      continue;
    }
    const Object* object = item.value->if_object();
    if (object == nullptr) continue;
    const bool signature = object->contains("task") && (object->contains("options") || object->contains("args"));
    if (signature && ++links > kMaxLinks) {
      throw DecodeFailure(reason::too_large, "embed",
                          "more than " + std::to_string(kMaxLinks) + " callbacks, errbacks and chain steps");
    }
    if (item.depth > kMaxSignatureDepth) {
      throw DecodeFailure(reason::too_large, "embed",
                          "signatures nested more than " + std::to_string(kMaxSignatureDepth) + " deep");
    }
    for (const auto& [key, inner] : *object) work.push_back({&inner, item.depth + (signature ? 1 : 0)});
  }
}

// write_json takes Values; writing the outer level here saves a copy of everything inside.
void write_array(std::string& out, const Array& array, const JsonStyle& style) {
  out += '[';
  bool first = true;
  for (const Value& item : array) {
    if (!std::exchange(first, false)) out += style.spaces ? ", " : ",";
    write_json(out, item, style);
  }
  out += ']';
}

void write_object(std::string& out, const Object& object, const JsonStyle& style) {
  out += '{';
  bool first = true;
  for (const auto& [key, value] : object) {
    if (!std::exchange(first, false)) out += style.spaces ? ", " : ",";
    write_json(out, Value(key), style);
    out += style.spaces ? ": " : ":";
    write_json(out, value, style);
  }
  out += '}';
}

void write_links(std::string& out, const Array& links, const JsonStyle& style) {
  if (links.empty()) {
    out += "null";
  } else {
    write_array(out, links, style);
  }
}

}  // namespace

std::string unpacked_body(const Message& message) {
  const Value* method = message.headers.find("compression");
  if (method == nullptr || method->is_null()) return message.body;
  const std::string* name = method->if_text();
  if (name == nullptr) {
    throw DecodeFailure(reason::bad_header, "compression",
                        "expected text or null, got " + std::string(kind_name(method->kind())));
  }
  if (name->empty()) return message.body;
  const auto known = find_compression(*name);
  if (!known) {
    throw DecodeFailure(reason::content_disallowed, "compression",
                        "expected application/x-gzip, x-bz2, x-lzma, x-brotli or zstd, got " + printable(*name));
  }
  return decompress(*known, message.body);
}

Body::Body(const Message& message) : source_(message.body) {
  require_json(message);
  if (const Value* method = message.headers.find("compression"); method != nullptr && !method->is_null()) {
    unpacked_ = unpacked_body(message);
  }
  const std::string_view whole = text();
  JsonCursor cursor(whole, "body");
  if (cursor.peek() != '[') {
    throw DecodeFailure(reason::bad_body, "body",
                        "expected an array of args, kwargs and embed, got " +
                            (cursor.peek() == '\0' ? "nothing" : "'" + printable(whole, 20) + "'"));
  }
  cursor.expect('[');
  std::size_t count = 0;
  if (!cursor.take(']')) {
    do {
      const std::string_view part = cursor.value();
      const Range range{static_cast<std::size_t>(part.data() - whole.data()), part.size()};
      if (count == 0) args_ = range;
      if (count == 1) kwargs_ = range;
      if (count == 2) embed_ = range;
      ++count;
    } while (count <= 3 && cursor.take(','));
    if (count > 3) throw DecodeFailure(reason::bad_body, "body", "expected 3 elements, got more");
    cursor.expect(']');
  }
  cursor.end();
  if (count != 3) {
    throw DecodeFailure(reason::bad_body, "body", "expected 3 elements, got " + std::to_string(count));
  }
  if (args_json().front() != '[') {
    throw DecodeFailure(reason::bad_body, "args", "expected array, got '" + printable(args_json(), 20) + "'");
  }
  if (kwargs_json().front() != '{') {
    throw DecodeFailure(reason::bad_body, "kwargs", "expected object, got '" + printable(kwargs_json(), 20) + "'");
  }
  if (embed_json().front() != '{' && embed_json() != "null") {
    throw DecodeFailure(reason::bad_body, "embed",
                        "expected object or null, got '" + printable(embed_json(), 20) + "'");
  }
}

Array Body::args() const {
  Value value = parse_part("args", args_json());
  if (!value.is_array()) wrong_type("args", "array", value);
  return std::move(value.as_array());
}

Object Body::kwargs() const {
  Value value = parse_part("kwargs", kwargs_json());
  if (!value.is_object()) wrong_type("kwargs", "object", value);
  return std::move(value.as_object());
}

Embed Body::embed() const {
  if (embed_json() == "null" || embed_json() == kNoEmbed) return {};
  // Signatures are carried on unread: their typed values stay as they are.
  return read_embed(reading("embed", [&] { return parse_json(embed_json(), {.depth = kEmbedJsonDepth}); }));
}

Embed read_embed(Value embed) {
  if (embed.is_null()) return {};
  Object* object = embed.if_object();
  if (object == nullptr) wrong_type("embed", "object or null", embed);
  Embed out;
  out.callbacks = take_signatures(*object, "callbacks");
  out.errbacks = take_signatures(*object, "errbacks");
  out.chain = take_signatures(*object, "chain");
  if (Value* chord = object->find("chord"); chord != nullptr && !chord->is_null()) {
    if (!chord->is_object()) wrong_type("embed.chord", "object or null", *chord);
    out.chord = std::move(*chord);
  }
  check_limits(out);
  return out;
}

void write_embed(std::string& out, const Embed& embed, const JsonStyle& style) {
  if (embed.empty()) {
    out += kNoEmbed;
    return;
  }
  out += R"({"callbacks": )";
  write_links(out, embed.callbacks, style);
  out += R"(, "errbacks": )";
  write_links(out, embed.errbacks, style);
  out += R"(, "chain": )";
  write_links(out, embed.chain, style);
  out += R"(, "chord": )";
  write_json(out, embed.chord, style);
  out += '}';
}

std::string encode_body(const Array& args, const Object& kwargs, const Embed& embed, const JsonStyle& style) {
  std::string out = "[";
  write_array(out, args, style);
  out += ", ";
  write_object(out, kwargs, style);
  out += ", ";
  write_embed(out, embed, style);
  out += ']';
  return out;
}

std::string join_body(std::string_view first_arg, std::string_view args_json, std::string_view kwargs_json,
                      const Embed& embed) {
  std::string out = "[";
  if (first_arg.empty()) {
    out += args_json;
  } else {
    out += '[';
    out += first_arg;
    if (!is_nothing(args_json)) {
      out += ", ";
      out += args_json.substr(1);
    } else {
      out += ']';
    }
  }
  out += ", ";
  out += kwargs_json;
  out += ", ";
  write_embed(out, embed);
  out += ']';
  return out;
}

}  // namespace errand::protocol
