#pragma once
// What a Redis server answers, as a value, and how its bytes are read: RESP2, and RESP3 where pushed messages stand
// between the answers.
//
// Reading is ours and not hiredis': every length is checked against a named limit before anything is allocated, no
// nesting recurses, RESP3 is understood, and a text is copied once (docs/decisions/0007).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace errand::redis {

/// RESP3's maps and sets are arrays here, its doubles and verbatim texts are texts, its booleans are integers.
struct Reply {
  enum class Kind { nil, status, error, integer, text, array, push };
  Kind kind = Kind::nil;
  std::int64_t integer = 0;
  std::string text;             ///< status, error, text
  std::vector<Reply> elements;  ///< array, push

  bool is_nil() const noexcept { return kind == Kind::nil; }
  bool is_error() const noexcept { return kind == Kind::error; }
  bool is_array() const noexcept { return kind == Kind::array; }
};

/// Turns bytes into replies, whatever the pieces they come in.
class ReplyReader {
 public:
  struct Limits {
    std::size_t text_bytes = 512u << 20;  ///< one text: what a Redis value can be at most
    std::size_t reply_bytes = 1u << 30;   ///< one reply with all its elements
    std::size_t elements = 4u << 20;      ///< of one array
    std::size_t line_bytes = 64u << 10;   ///< a status, an error, a number
    std::size_t depth = 32;
  };

  ReplyReader() = default;
  explicit ReplyReader(const Limits& limits) : limits_(limits) {}

  /// Room for at least that many bytes; filled() says how many came.
  std::span<char> room(std::size_t at_least);
  void filled(std::size_t bytes) noexcept { end_ += bytes; }
  void feed(std::string_view bytes);

  /// The next whole reply; nullopt: more bytes are needed. Throws Error{invalid} when the bytes are not Redis's
  /// protocol or exceed a limit; the reader is of no more use then.
  std::optional<Reply> next();

 private:
  struct Frame {
    Reply reply;
    std::size_t missing = 0;  // elements still to come
    bool dropped = false;     // an attribute: read, not handed out
  };
  [[noreturn]] void fail(std::string detail) const;
  std::optional<std::string_view> line();
  std::int64_t number(std::string_view text) const;
  bool begin_node(char type, std::string_view rest, Reply& node);
  void push_frame(Reply::Kind kind, std::string_view count, std::size_t per_element, bool dropped = false);
  std::optional<Reply> attach(Reply node);

  Limits limits_;
  std::string buffer_;
  std::size_t at_ = 0;     // first byte not understood yet
  std::size_t end_ = 0;    // end of what has come
  std::size_t bytes_ = 0;  // of the reply so far
  std::vector<Frame> frames_;
};

}  // namespace errand::redis
