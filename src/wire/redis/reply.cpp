#include "wire/redis/reply.hpp"

#include "core/text.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

namespace errand::redis {

namespace {
constexpr std::size_t kKeepBuffer = 256u << 10;  // a larger buffer is given back once it is empty
constexpr std::size_t kReserveAtMost = 1'024;    // elements reserved on the word of a length alone
}  // namespace

void ReplyReader::fail(std::string detail) const {
  throw Error({.kind = ErrorKind::invalid, .operation = "redis.read", .detail = std::move(detail)});
}

std::span<char> ReplyReader::room(std::size_t at_least) {
  if (at_ == end_) {
    at_ = end_ = 0;
    if (buffer_.size() > kKeepBuffer && at_least <= kKeepBuffer) buffer_ = std::string();
  }
  if (buffer_.size() - end_ < at_least) {
    if (at_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + at_, end_ - at_);
      end_ -= at_;
      at_ = 0;
    }
    if (buffer_.size() - end_ < at_least) buffer_.resize(std::max(end_ + at_least, buffer_.size() * 2));
  }
  return {buffer_.data() + end_, buffer_.size() - end_};
}

void ReplyReader::feed(std::string_view bytes) {
  const std::span<char> space = room(bytes.size());
  std::copy(bytes.begin(), bytes.end(), space.begin());
  filled(bytes.size());
}

// The line that begins at at_, without its end; at_ moves behind it.
std::optional<std::string_view> ReplyReader::line() {
  const std::string_view rest(buffer_.data() + at_, end_ - at_);
  const std::size_t stop = rest.find('\n');
  if (stop == std::string_view::npos) {
    if (rest.size() > limits_.line_bytes) fail("expected a line of at most 64 KiB, got more");
    return std::nullopt;
  }
  if (stop == 0 || rest[stop - 1] != '\r') fail("expected CR LF at the end of a line");
  if (stop > limits_.line_bytes) fail("expected a line of at most 64 KiB, got more");
  at_ += stop + 1;
  return rest.substr(0, stop - 1);
}

std::int64_t ReplyReader::number(std::string_view text) const {
  std::int64_t value = 0;
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
    fail("expected a number, got '" + core::escape_controls(core::shorten(text, 40)) + "'");
  }
  return value;
}

void ReplyReader::push_frame(Reply::Kind kind, std::string_view count, std::size_t per_element, bool dropped) {
  const std::int64_t elements = number(count);
  if (elements < 0 || static_cast<std::uint64_t>(elements) > limits_.elements / per_element) {
    fail("expected at most " + std::to_string(limits_.elements) + " elements, got " + std::string(count));
  }
  if (frames_.size() >= limits_.depth) {
    fail("expected at most " + std::to_string(limits_.depth) + " nested answers, got more");
  }
  Frame& frame = frames_.emplace_back();
  frame.reply.kind = kind;
  frame.missing = static_cast<std::size_t>(elements) * per_element;
  frame.dropped = dropped;
  frame.reply.elements.reserve(std::min(frame.missing, kReserveAtMost));
}

// True: `node` is complete. False: an array was opened, its elements come next.
bool ReplyReader::begin_node(char type, std::string_view rest, Reply& node) {
  switch (type) {
    case '+':
      node.kind = Reply::Kind::status;
      node.text = rest;
      return true;
    case '-':
      node.kind = Reply::Kind::error;
      node.text = rest;
      return true;
    case ',':  // double
    case '(':  // integer of any size
      node.kind = Reply::Kind::text;
      node.text = rest;
      return true;
    case ':':
      node.kind = Reply::Kind::integer;
      node.integer = number(rest);
      return true;
    case '#':
      if (rest != "t" && rest != "f") fail("expected #t or #f");
      node.kind = Reply::Kind::integer;
      node.integer = rest == "t" ? 1 : 0;
      return true;
    case '_':
      return true;
    case '*':
      if (rest == "-1") return true;
      push_frame(Reply::Kind::array, rest, 1);
      return false;
    case '~':
      push_frame(Reply::Kind::array, rest, 1);
      return false;
    case '%':
      push_frame(Reply::Kind::array, rest, 2);
      return false;
    case '>':
      push_frame(Reply::Kind::push, rest, 1);
      return false;
    case '|':
      push_frame(Reply::Kind::array, rest, 2, true);
      return false;
    default:
      fail("expected an answer in Redis's protocol, got '" +
           core::escape_controls(core::shorten(std::string(1, type) + std::string(rest), 40)) +
           "'; is this a Redis server, and does it want TLS (rediss://)?");
  }
}

// Puts a finished node into the array that waits for it. Returns the whole reply when it was the last one.
std::optional<Reply> ReplyReader::attach(Reply node) {
  for (;;) {
    if (frames_.empty()) return node;
    Frame& top = frames_.back();
    top.reply.elements.push_back(std::move(node));
    if (--top.missing > 0) return std::nullopt;
    const bool dropped = top.dropped;
    node = std::move(top.reply);
    frames_.pop_back();
    if (dropped) return std::nullopt;  // the answer that it describes comes next
  }
}

std::optional<Reply> ReplyReader::next() {
  for (;;) {
    if (at_ == end_) return std::nullopt;
    const std::size_t before = at_;
    const auto head = line();
    if (!head) return std::nullopt;
    if (head->empty()) fail("expected an answer, got an empty line");
    const char type = head->front();
    const std::string_view rest = head->substr(1);
    Reply node;
    if (type == '$' || type == '=' || type == '!') {
      const std::int64_t length = number(rest);
      if (length != -1) {
        if (length < 0 || static_cast<std::uint64_t>(length) > limits_.text_bytes) {
          fail("expected a text of at most " + std::to_string(limits_.text_bytes) + " bytes, got " + std::string(rest));
        }
        const auto size = static_cast<std::size_t>(length);
        if (end_ - at_ < size + 2) {
          at_ = before;
          return std::nullopt;
        }
        std::string_view text(buffer_.data() + at_, size);
        if (buffer_[at_ + size] != '\r' || buffer_[at_ + size + 1] != '\n') fail("expected CR LF after a text");
        at_ += size + 2;
        bytes_ += size;
        if (bytes_ > limits_.reply_bytes) {
          fail("expected an answer of at most " + std::to_string(limits_.reply_bytes) + " bytes, got more");
        }
        if (type == '=') text.remove_prefix(std::min<std::size_t>(4, size));  // "txt:"
        node.kind = type == '!' ? Reply::Kind::error : Reply::Kind::text;
        node.text = text;
      }
    } else if (!begin_node(type, rest, node)) {
      if (frames_.back().missing > 0) continue;
      const bool dropped = frames_.back().dropped;
      node = std::move(frames_.back().reply);
      frames_.pop_back();
      if (dropped) continue;
    }
    if (auto whole = attach(std::move(node))) {
      bytes_ = 0;
      return whole;
    }
  }
}

}  // namespace errand::redis
