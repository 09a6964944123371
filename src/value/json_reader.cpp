// The JSON reader: one pass, no recursion, Python's dialect, limits on everything a message can grow.
#include <errand/error.hpp>
#include <errand/value.hpp>

#include "core/utf8.hpp"
#include "value/number_text.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <utility>

namespace errand {

namespace {

constexpr std::size_t kMembersAtFirst = 32;  // the headers of a task, so that the stack need not grow for them

class Reader {
 public:
  Reader(std::string_view text, const JsonLimits& limits)
      : text_(text), limits_(limits), depth_(std::min(limits.depth, JsonLimits::kMostDepth)) {}

  Value read() {
    if (text_.size() > limits_.bytes) {
      fail("at most " + std::to_string(limits_.bytes) + " bytes (limit bytes)",
           std::to_string(text_.size()) + " bytes");
    }
    if (text_.substr(0, 3) == "\xef\xbb\xbf") fail("JSON", "a byte order mark; send UTF-8 without one");
    Value result;
    Value* to = &result;
    do {
      to = read_into(*to) ? first_element() : next_element(result);
    } while (to != nullptr);
    blanks();
    if (at_ != text_.size()) fail("the end of the text");
    return result;
  }

 private:
  // A container that is being filled. Its elements stand at the end of items_ or members_ and move into a vector of
  // the right size when it closes: one allocation for each container, and a hostile object pays for its index only
  // once it is whole.
  struct Frame {
    bool is_object = false;
    std::size_t from = 0;
  };

  [[noreturn]] void fail(const std::string& expected, std::string got = {}) const {
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
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "json.parse",
                 .detail = "expected " + expected + ", got " + got + " at byte " + std::to_string(at_)});
  }

  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void count_node() {
    if (++nodes_ > limits_.nodes) fail("at most " + std::to_string(limits_.nodes) + " values (limit nodes)", "more");
  }

  // Reads a scalar or an empty container; true when a container with something in it was opened instead.
  bool read_into(Value& to) {
    blanks();
    if (++nodes_ > limits_.nodes) {
      fail("at most " + std::to_string(limits_.nodes) + " values (limit nodes)", "more");
    }
    if (at_ >= text_.size()) fail("a value");
    switch (text_[at_]) {
      case '{':
        return open(true, '}', to);
      case '[':
        return open(false, ']', to);
      case '"':
        to = Value(text());
        return false;
      case 't':
        word("true");
        to = Value(true);
        return false;
      case 'f':
        word("false");
        to = Value(false);
        return false;
      case 'n':
        word("null");
        return false;
      case 'N':
        word("NaN");
        to = Value(std::numeric_limits<double>::quiet_NaN());
        return false;
      case 'I':
        word("Infinity");
        to = Value(std::numeric_limits<double>::infinity());
        return false;
      default:
        to = number();
        return false;
    }
  }

  bool open(bool is_object, char close, Value& to) {
    ++at_;
    if (frames_.size() >= depth_) {
      fail("nesting of at most " + std::to_string(depth_) + " (limit depth)", "more");
    }
    blanks();
    if (take(close)) {
      to = is_object ? Value(Object()) : Value(Array());
      return false;
    }
    if (is_object && members_.capacity() == 0) members_.reserve(kMembersAtFirst);
    frames_.push_back({is_object, is_object ? members_.size() : items_.size()});
    return true;
  }

  // Where the first element of the container just opened goes.
  Value* first_element() { return frames_.back().is_object ? next_member() : &items_.emplace_back(); }

  Value* next_member() {
    std::string name = key();
    return &members_.emplace_back(std::move(name), Value()).second;
  }

  // After a value: where the next one goes, closing what ends in between; nullptr: the text is complete.
  Value* next_element(Value& result) {
    while (!frames_.empty()) {
      blanks();
      const Frame frame = frames_.back();
      if (take(',')) return frame.is_object ? next_member() : &items_.emplace_back();
      if (!take(frame.is_object ? '}' : ']')) fail(frame.is_object ? "',' or '}'" : "',' or ']'");
      frames_.pop_back();
      Value closed = frame.is_object ? Value(Object(taken(members_, frame.from))) : Value(taken(items_, frame.from));
      if (frames_.empty()) {
        result = std::move(closed);
      } else if (frames_.back().is_object) {
        members_.back().second = std::move(closed);
      } else {
        items_.back() = std::move(closed);
      }
    }
    return nullptr;
  }

  // Moves out what stands at the end of the stack; the outermost container is all of it.
  template <class T>
  std::vector<T> taken(std::vector<T>& stack, std::size_t from) const {
    if (frames_.empty()) return std::exchange(stack, {});
    const auto first = stack.begin() + static_cast<std::ptrdiff_t>(from);
    std::vector<T> out(std::make_move_iterator(first), std::make_move_iterator(stack.end()));
    stack.erase(first, stack.end());
    return out;
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
    std::size_t from = at_;  // what stands from here on is carried over as it is
    for (;;) {
      at_ += utf8::plain_run(text_.substr(at_));
      if (at_ >= text_.size()) fail("'\"'");
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '"') {
        out.append(text_, from, at_ - from);
        ++at_;
        return out;
      }
      if (byte == '\\') {
        out.append(text_, from, at_ - from);
        escape(out);
        from = at_;
      } else if (byte < 0x20) {
        fail("no control character inside a text");
      } else {
        const std::size_t length = utf8::sequence(text_.substr(at_));
        if (length == 0) fail("UTF-8");
        at_ += length;
      }
    }
  }

  void escape(std::string& out) {
    ++at_;
    if (at_ >= text_.size()) fail("an escape");
    switch (text_[at_]) {
      case '"':
        out += '"';
        break;
      case '\\':
        out += '\\';
        break;
      case '/':
        out += '/';
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
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
      default:
        fail("one of the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
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
    if (real) return Value(value::read_double(text_.substr(from, at_ - from)));
    if (digits > limits_.integer_digits) {
      fail("an integer of at most " + std::to_string(limits_.integer_digits) + " digits (limit integer_digits)",
           std::to_string(digits) + " digits");
    }
    std::int64_t value = 0;
    const auto parsed = std::from_chars(text_.data() + from, text_.data() + integer_end, value);
    if (parsed.ec == std::errc{}) return Value(static_cast<long long>(value));
    return Value(BigInteger{std::string(text_.substr(from, integer_end - from))});
  }

  std::string_view text_;
  const JsonLimits& limits_;
  std::size_t at_ = 0;
  std::size_t nodes_ = 0;
  std::size_t depth_;
  std::vector<Frame> frames_;
  std::vector<Value> items_;
  std::vector<Object::Member> members_;
};

}  // namespace

Value parse_json(std::string_view text, const JsonLimits& limits) { return Reader(text, limits).read(); }

}  // namespace errand
