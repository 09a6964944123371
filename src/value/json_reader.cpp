// The JSON reader: one pass, no recursion, Python's dialect, limits on everything a message can grow.
#include <errand/error.hpp>
#include <errand/value.hpp>

#include "value/utf8.hpp"

#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>

namespace errand {

namespace {

class Reader {
 public:
  Reader(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  Value read() {
    if (text_.size() > limits_.bytes) {
      fail("at most " + std::to_string(limits_.bytes) + " bytes (limit bytes)", std::to_string(text_.size()) + " bytes");
    }
    if (text_.substr(0, 3) == "\xef\xbb\xbf") fail("JSON", "a byte order mark; send UTF-8 without one");
    for (;;) {
      Value value;
      if (open(value)) continue;  // a container was opened; its first element comes next
      if (place(std::move(value))) break;
    }
    blanks();
    if (at_ != text_.size()) fail("the end of the text");
    return std::move(result_);
  }

 private:
  // A container that is being filled.
  struct Frame {
    bool is_object = false;
    Array array;
    Object object;
    std::string key;
  };

  [[noreturn]] void fail(std::string expected, std::string got = {}) const {
    if (got.empty()) {
      if (at_ >= text_.size()) {
        got = "the end of the text";
      } else {
        const auto byte = static_cast<unsigned char>(text_[at_]);
        constexpr std::string_view kHex = "0123456789abcdef";
        got = byte >= 0x20 && byte < 0x7f ? "'" + std::string(1, text_[at_]) + "'"
                                          : std::string("byte 0x") + kHex[byte >> 4] + kHex[byte & 15];
      }
    }
    throw Error({.kind = ErrorKind::invalid, .operation = "json.parse",
                 .detail = "expected " + expected + ", got " + got + " at byte " + std::to_string(at_)});
  }

  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void count_node() {
    if (++nodes_ > limits_.nodes) fail("at most " + std::to_string(limits_.nodes) + " values (limit nodes)", "more");
  }

  // Reads a scalar or an empty container into `value`; true when a container was opened instead.
  bool open(Value& value) {
    blanks();
    count_node();
    if (at_ >= text_.size()) fail("a value");
    switch (text_[at_]) {
      case '{':
        ++at_;
        blanks();
        if (take('}')) {
          value = Value(Object());
          return false;
        }
        push(true);
        frames_.back().key = key();
        return true;
      case '[':
        ++at_;
        blanks();
        if (take(']')) {
          value = Value(Array());
          return false;
        }
        push(false);
        return true;
      case '"': value = Value(text()); return false;
      case 't': word("true"); value = Value(true); return false;
      case 'f': word("false"); value = Value(false); return false;
      case 'n': word("null"); return false;
      case 'N': word("NaN"); value = Value(std::numeric_limits<double>::quiet_NaN()); return false;
      case 'I': word("Infinity"); value = Value(std::numeric_limits<double>::infinity()); return false;
      default: value = number(); return false;
    }
  }

  void push(bool is_object) {
    if (frames_.size() >= limits_.depth) {
      fail("nesting of at most " + std::to_string(limits_.depth) + " (limit depth)", "more");
    }
    frames_.emplace_back();
    frames_.back().is_object = is_object;
  }

  // Puts a finished value where it belongs and reads on to the next; true when it was the whole text.
  bool place(Value value) {
    while (!frames_.empty()) {
      Frame& frame = frames_.back();
      if (frame.is_object) {
        frame.object.set(std::move(frame.key), std::move(value));
        blanks();
        if (take(',')) {
          frame.key = key();
          return false;
        }
        if (!take('}')) fail("',' or '}'");
        value = Value(std::move(frame.object));
      } else {
        frame.array.push_back(std::move(value));
        blanks();
        if (take(',')) return false;
        if (!take(']')) fail("',' or ']'");
        value = Value(std::move(frame.array));
      }
      frames_.pop_back();
    }
    result_ = std::move(value);
    return true;
  }

  std::string key() {
    blanks();
    if (at_ >= text_.size() || text_[at_] != '"') fail("a key in double quotes");
    std::string name = text();
    blanks();
    if (!take(':')) fail("':'");
    return name;
  }

  void word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) fail("'" + std::string(expected) + "'");
    at_ += expected.size();
  }

  std::string text() {
    ++at_;
    std::string out;
    for (;;) {
      // The run up to the next quote, escape, control character or non-ASCII byte goes over in one piece.
      const std::size_t from = at_;
      while (at_ < text_.size() && utf8::is_plain(text_[at_])) ++at_;
      out.append(text_, from, at_ - from);
      if (at_ >= text_.size()) fail("'\"'");
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '"') {
        ++at_;
        return out;
      }
      if (byte == '\\') {
        escape(out);
      } else if (byte < 0x20) {
        fail("no control character inside a text");
      } else {
        const std::size_t length = utf8::sequence(text_.substr(at_));
        if (length == 0) fail("UTF-8");
        out.append(text_, at_, length);
        at_ += length;
      }
    }
  }

  void escape(std::string& out) {
    ++at_;
    if (at_ >= text_.size()) fail("an escape");
    switch (text_[at_]) {
      case '"': out += '"'; break;
      case '\\': out += '\\'; break;
      case '/': out += '/'; break;
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'u': {
        ++at_;
        std::uint32_t code = hex4();
        if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_, 2) == "\\u") {
          const std::size_t before = at_;
          at_ += 2;
          const std::uint32_t low = hex4();
          if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
          } else {
            at_ = before;  // the first stands alone; the second is read on its own
          }
        }
        utf8::append(out, code);
        return;
      }
      default: fail("one of the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    }
    ++at_;
  }

  std::uint32_t hex4() {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      std::uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<std::uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<std::uint32_t>(c - 'a') + 10;
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<std::uint32_t>(c - 'A') + 10;
      } else {
        fail("four hexadecimal digits");
      }
      code = code << 4 | digit;
    }
    return code;
  }

  bool digit() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }

  Value number() {
    const std::size_t from = at_;
    const bool negative = take('-');
    if (negative && at_ < text_.size() && text_[at_] == 'I') {
      word("Infinity");
      return Value(-std::numeric_limits<double>::infinity());
    }
    if (!digit()) {
      if (!negative) fail("a value");
      fail("a digit");
    }
    const std::size_t digits_from = at_;
    if (text_[at_] == '0') {
      ++at_;
      if (digit()) fail("no digit after a leading zero");
    } else {
      while (digit()) ++at_;
    }
    const std::size_t digits = at_ - digits_from;
    const std::size_t integer_end = at_;
    bool real = false;
    if (at_ + 1 < text_.size() && text_[at_] == '.' && text_[at_ + 1] >= '0' && text_[at_ + 1] <= '9') {
      real = true;
      ++at_;
      while (digit()) ++at_;
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      const std::size_t before = at_++;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (digit()) {
        real = true;
        while (digit()) ++at_;
      } else {
        at_ = before;
      }
    }
    if (real) return real_number(from);
    if (digits > limits_.integer_digits) {
      fail("an integer of at most " + std::to_string(limits_.integer_digits) + " digits (limit integer_digits)",
           std::to_string(digits) + " digits");
    }
    std::int64_t value = 0;
    const auto parsed = std::from_chars(text_.data() + from, text_.data() + integer_end, value);
    if (parsed.ec == std::errc{}) return Value(static_cast<long long>(value));
    return Value(BigInteger{std::string(text_.substr(from, integer_end - from))});
  }

  Value real_number(std::size_t from) {
    double value = 0;
    const auto parsed = std::from_chars(text_.data() + from, text_.data() + at_, value);
    if (parsed.ec == std::errc::result_out_of_range) {
      // Python reads 1e400 as infinity and 1e-400 as zero, and so does strtod.
      value = std::strtod(std::string(text_.substr(from, at_ - from)).c_str(), nullptr);
    }
    return Value(value);
  }

  std::string_view text_;
  const JsonLimits& limits_;
  std::size_t at_ = 0;
  std::size_t nodes_ = 0;
  std::vector<Frame> frames_;
  Value result_;
};

}  // namespace

Value parse_json(std::string_view text, const JsonLimits& limits) { return Reader(text, limits).read(); }

}  // namespace errand
