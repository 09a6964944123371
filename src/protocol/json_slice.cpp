#include "protocol/json_slice.hpp"

#include "protocol/decode_failure.hpp"

#include <array>
#include <string>

namespace errand::protocol {
namespace {

// What matters between the brackets of a value that is passed over.
constexpr auto kStructure = [] {
  std::array<bool, 256> marks{};
  for (const unsigned char c : {'"', '[', ']', '{', '}'}) marks[c] = true;
  return marks;
}();

bool blank(char c) noexcept { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

}  // namespace

char JsonCursor::peek() noexcept {
  while (at_ < text_.size() && blank(text_[at_])) ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool JsonCursor::take(char c) noexcept {
  if (peek() != c || at_ >= text_.size()) return false;
  ++at_;
  return true;
}

void JsonCursor::expect(char c) {
  if (!take(c)) fail(std::string("'") + c + "'");
}

std::string_view JsonCursor::raw_string() {
  expect('"');
  const std::size_t begin = at_;
  for (;;) {
    const std::size_t quote = text_.find('"', at_);
    if (quote == std::string_view::npos) {
      at_ = text_.size();
      fail("a closing quote");
    }
    // A quote is escaped when an odd number of backslashes stands before it.
    std::size_t slashes = 0;
    while (quote - slashes > begin && text_[quote - slashes - 1] == '\\') ++slashes;
    at_ = quote + 1;
    if (slashes % 2 == 0) return text_.substr(begin, quote - begin);
  }
}

std::string_view JsonCursor::value() {
  const char first = peek();
  const std::size_t begin = at_;
  if (first == '"') {
    raw_string();
    return text_.substr(begin, at_ - begin);
  }
  if (first == '[' || first == '{') {
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (!kStructure[static_cast<unsigned char>(c)]) {
        ++at_;
        continue;
      }
      if (c == '"') {
        raw_string();
        continue;
      }
      ++at_;
      if (c == '[' || c == '{') {
        ++depth;
      } else if (--depth == 0) {
        return text_.substr(begin, at_ - begin);
      }
    }
    at_ = text_.size();
    fail("a closing bracket");
  }
  while (at_ < text_.size() && !blank(text_[at_]) && text_[at_] != ',' && text_[at_] != ']' && text_[at_] != '}' &&
         text_[at_] != ':') {
    ++at_;
  }
  if (at_ == begin) fail("a value");
  return text_.substr(begin, at_ - begin);
}

void JsonCursor::end() {
  if (peek() != '\0' || at_ < text_.size()) fail("the end");
}

void JsonCursor::fail(std::string_view expected) const {
  const std::string got = at_ < text_.size() ? "'" + printable(text_.substr(at_, 1)) + "'" : "the end";
  throw DecodeFailure(reason::undecodable, std::string(subject_),
                      "expected " + std::string(expected) + " at byte " + std::to_string(at_) + ", got " + got);
}

bool is_nothing(std::string_view raw) noexcept {
  if (raw == "null" || raw == "[]" || raw == "{}") return true;
  if (raw.size() < 2 || (raw.front() != '[' && raw.front() != '{')) return false;
  for (const char c : raw.substr(1, raw.size() - 2)) {
    if (!blank(c)) return false;
  }
  return true;
}

}  // namespace errand::protocol
