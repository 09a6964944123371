// The JSON writer: byte for byte what Python's json.dumps writes.
#include <errand/error.hpp>
#include <errand/value.hpp>

#include "core/base64.hpp"
#include "core/utf8.hpp"
#include "value/number_text.hpp"
#include "value/typed.hpp"

#include <array>
#include <charconv>

namespace errand {

namespace {

[[noreturn]] void refuse(std::string detail) {
  throw Error({.kind = ErrorKind::invalid, .operation = "json.write", .detail = std::move(detail)});
}

class Writer {
 public:
  Writer(std::string& out, const JsonStyle& style) : out_(out), style_(style) {}

  void value(const Value& v, std::size_t depth) {
    // The writer recurses; what the reader can have read always passes.
    if (depth > JsonLimits::kMostDepth) {
      refuse("expected nesting of at most " + std::to_string(JsonLimits::kMostDepth) + ", got more");
    }
    switch (v.kind()) {
      case Value::Kind::null:
        out_ += "null";
        break;
      case Value::Kind::boolean:
        out_ += v.as_bool() ? "true" : "false";
        break;
      case Value::Kind::integer:
        integer(v.as_integer());
        break;
      case Value::Kind::big_integer:
        big_integer(v.as_big_integer().digits);
        break;
      case Value::Kind::number:
        value::append_double(out_, v.as_number());
        break;
      case Value::Kind::text:
        text(v.as_text());
        break;
      case Value::Kind::bytes:
        bytes(v.as_bytes(), depth);
        break;
      case Value::Kind::array:
        array(v.as_array(), depth);
        break;
      case Value::Kind::object:
        object(v.as_object(), depth);
        break;
    }
  }

 private:
  void integer(std::int64_t n) {
    std::array<char, 24> digits;
    out_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), n).ptr);
  }

  void big_integer(std::string_view digits) {
    if (!value::is_canonical_integer(digits)) {
      refuse("expected the digits of a big integer (optional '-', no leading zeros), got other text");
    }
    out_ += digits;
  }

  void escaped(std::uint32_t unit) {
    constexpr std::string_view kHex = "0123456789abcdef";
    out_ += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out_ += kHex[unit >> shift & 15];
  }

  void text(std::string_view s) {
    out_ += '"';
    std::size_t at = 0;
    while (at < s.size()) {
      const std::size_t from = at;
      at += utf8::plain_run(s.substr(at));
      out_.append(s, from, at - from);
      if (at == s.size()) break;
      switch (s[at]) {
        case '"':
          out_ += "\\\"";
          ++at;
          continue;
        case '\\':
          out_ += "\\\\";
          ++at;
          continue;
        case '\n':
          out_ += "\\n";
          ++at;
          continue;
        case '\r':
          out_ += "\\r";
          ++at;
          continue;
        case '\t':
          out_ += "\\t";
          ++at;
          continue;
        case '\b':
          out_ += "\\b";
          ++at;
          continue;
        case '\f':
          out_ += "\\f";
          ++at;
          continue;
        default:
          break;
      }
      const utf8::Decoded decoded = utf8::decode(s.substr(at));
      if (decoded.length == 0)
        refuse("expected UTF-8 text, got a malformed byte at position " + std::to_string(at) + "; send it as bytes");
      const bool surrogate = decoded.code >= 0xd800 && decoded.code < 0xe000;
      if (decoded.code < 0x20 || surrogate || (style_.ascii && decoded.code >= 0x7f)) {
        if (decoded.code >= 0x10000) {
          escaped(0xd800 + ((decoded.code - 0x10000) >> 10));
          escaped(0xdc00 + ((decoded.code - 0x10000) & 0x3ff));
        } else {
          escaped(decoded.code);
        }
      } else {
        out_.append(s, at, decoded.length);
      }
      at += decoded.length;
    }
    out_ += '"';
  }

  void bytes(const Bytes& b, std::size_t depth) {
    if (!style_.typed_bytes) {
      refuse(
          "expected a value that plain JSON can hold, got bytes; readers of this queue may be older than kombu 5.3. "
          "Set typed_json = true if none is, or send text");
    }
    const bool is_text = utf8::is_valid(b.data);
    out_ += '{';
    separator(true, depth + 1);
    member("__type__");
    text(is_text ? "bytes" : "base64");
    separator(false, depth + 1);
    member("__value__");
    if (is_text) {
      text(b.data);
    } else {
      out_ += '"';
      core::base64_append(out_, b.data);
      out_ += '"';
    }
    line(depth);
    out_ += '}';
  }

  void member(std::string_view name) {
    text(name);
    out_ += style_.spaces ? ": " : ":";
  }

  void separator(bool first, std::size_t depth) {
    if (!first) out_ += style_.indent > 0 ? "," : style_.spaces ? ", " : ",";
    line(depth);
  }

  void line(std::size_t depth) {
    if (style_.indent == 0) return;
    out_ += '\n';
    out_.append(depth * static_cast<std::size_t>(style_.indent), ' ');
  }

  void array(const Array& items, std::size_t depth) {
    out_ += '[';
    bool first = true;
    for (const Value& item : items) {
      separator(first, depth + 1);
      value(item, depth + 1);
      first = false;
    }
    if (!first) line(depth);
    out_ += ']';
  }

  void object(const Object& members, std::size_t depth) {
    if (typed::is_reserved(members) && !typed::is_known(members)) {
      refuse(
          "expected no object with exactly the keys __type__ and __value__ (kombu reads it as a typed value), got one");
    }
    out_ += '{';
    bool first = true;
    for (const auto& [name, held] : members) {
      separator(first, depth + 1);
      member(name);
      value(held, depth + 1);
      first = false;
    }
    if (!first) line(depth);
    out_ += '}';
  }

  std::string& out_;
  const JsonStyle& style_;
};

}  // namespace

void write_json(std::string& out, const Value& value, const JsonStyle& style) {
  const std::size_t before = out.size();
  try {
    Writer(out, style).value(value, 0);
  } catch (...) {
    out.resize(before);
    throw;
  }
}

std::string to_json(const Value& value, const JsonStyle& style) {
  std::string out;
  write_json(out, value, style);
  return out;
}

}  // namespace errand
