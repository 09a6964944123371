// The JSON writer: byte for byte what Python's json.dumps writes.
#include <errand/error.hpp>
#include <errand/value.hpp>

#include "core/base64.hpp"
#include "value/typed.hpp"
#include "value/utf8.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace errand {

namespace {

constexpr std::size_t kMaxWriteDepth = 1000;  // deeper values are a mistake, and the writer recurses

[[noreturn]] void refuse(std::string detail) {
  throw Error({.kind = ErrorKind::invalid, .operation = "json.write", .detail = std::move(detail)});
}

class Writer {
 public:
  Writer(std::string& out, const JsonStyle& style) : out_(out), style_(style) {}

  void value(const Value& v, std::size_t depth) {
    if (depth > kMaxWriteDepth) refuse("expected nesting of at most 1000, got more");
    switch (v.kind()) {
      case Value::Kind::null: out_ += "null"; break;
      case Value::Kind::boolean: out_ += v.as_bool() ? "true" : "false"; break;
      case Value::Kind::integer: integer(v.as_integer()); break;
      case Value::Kind::big_integer: out_ += v.as_big_integer().digits; break;
      case Value::Kind::number: number(v.as_number()); break;
      case Value::Kind::text: text(v.as_text()); break;
      case Value::Kind::bytes: bytes(v.as_bytes()); break;
      case Value::Kind::array: array(v.as_array(), depth); break;
      case Value::Kind::object: object(v.as_object(), depth); break;
    }
  }

 private:
  void integer(std::int64_t n) {
    std::array<char, 24> digits;
    out_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), n).ptr);
  }

  // Python's float.__repr__: the shortest digits that read back equal; an exponent of at least two digits when the
  // decimal point would stand more than 16 places right or 4 left.
  void number(double n) {
    if (std::isnan(n)) {
      out_ += "NaN";
      return;
    }
    if (std::isinf(n)) {
      out_ += n < 0 ? "-Infinity" : "Infinity";
      return;
    }
    std::array<char, 40> buffer;
    char* end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), n, std::chars_format::scientific).ptr;
    std::string_view written(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
    if (written.front() == '-') {
      out_ += '-';
      written.remove_prefix(1);
    }
    const std::size_t e = written.find('e');
    int exponent = 0;
    const char* digits_of_exponent = written.data() + e + 1;
    if (*digits_of_exponent == '+') ++digits_of_exponent;
    std::from_chars(digits_of_exponent, written.data() + written.size(), exponent);
    std::string digits(1, written[0]);
    if (e > 2) digits.append(written.substr(2, e - 2));
    if (exponent < -4 || exponent >= 16) {
      out_ += digits[0];
      if (digits.size() > 1) {
        out_ += '.';
        out_.append(digits, 1);
      }
      out_ += exponent < 0 ? "e-" : "e+";
      const int magnitude = std::abs(exponent);
      if (magnitude < 10) out_ += '0';
      integer(magnitude);
    } else if (exponent < 0) {
      out_ += "0.";
      out_.append(static_cast<std::size_t>(-exponent - 1), '0');
      out_ += digits;
    } else {
      const auto whole = static_cast<std::size_t>(exponent) + 1;
      if (digits.size() <= whole) {
        out_ += digits;
        out_.append(whole - digits.size(), '0');
        out_ += ".0";
      } else {
        out_.append(digits, 0, whole);
        out_ += '.';
        out_.append(digits, whole);
      }
    }
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
      while (at < s.size() && utf8::is_plain(s[at]) && s[at] != 0x7f) ++at;
      out_.append(s, from, at - from);
      if (at == s.size()) break;
      switch (s[at]) {
        case '"': out_ += "\\\""; ++at; continue;
        case '\\': out_ += "\\\\"; ++at; continue;
        case '\n': out_ += "\\n"; ++at; continue;
        case '\r': out_ += "\\r"; ++at; continue;
        case '\t': out_ += "\\t"; ++at; continue;
        case '\b': out_ += "\\b"; ++at; continue;
        case '\f': out_ += "\\f"; ++at; continue;
        default: break;
      }
      const utf8::Decoded decoded = utf8::decode(s.substr(at));
      if (decoded.length == 0) refuse("expected UTF-8 text, got a malformed byte at position " + std::to_string(at) + "; send it as bytes");
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

  void bytes(const Bytes& b) {
    if (!style_.typed_bytes) {
      refuse("expected a value that plain JSON can hold, got bytes; readers of this queue may be older than kombu 5.3. "
             "Set typed_json = true if none is, or send text");
    }
    const bool is_text = is_utf8(b.data);
    out_ += is_text ? R"({"__type__": "bytes", "__value__": )" : R"({"__type__": "base64", "__value__": )";
    text(is_text ? b.data : core::base64_encode(b.data));
    out_ += '}';
  }

  static bool is_utf8(std::string_view s) {
    while (!s.empty()) {
      const std::size_t length = utf8::sequence(s);
      if (length == 0) return false;
      s.remove_prefix(length);
    }
    return true;
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
      refuse("expected no object with exactly the keys __type__ and __value__ (kombu reads it as a typed value), got one");
    }
    out_ += '{';
    bool first = true;
    for (const auto& [name, member] : members) {
      separator(first, depth + 1);
      text(name);
      out_ += style_.spaces ? ": " : ":";
      value(member, depth + 1);
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
