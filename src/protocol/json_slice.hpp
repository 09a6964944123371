#pragma once
// JsonCursor: walks the outermost level of a JSON text and hands out its values as slices, unread.
//
// Envelopes and bodies are carried, not parsed: the cursor finds where a member or an element begins and ends by
// matching quotes and brackets only. What lies inside a slice is checked by parse_json when somebody reads it.

#include <cstddef>
#include <string_view>

namespace errand::protocol {

/// Does not own the text. Throws DecodeFailure{UNDECODABLE} naming `subject` and the byte offset.
class JsonCursor {
 public:
  JsonCursor(std::string_view text, std::string_view subject) noexcept : text_(text), subject_(subject) {}

  /// The next character that is no blank, unread; '\0' at the end.
  char peek() noexcept;
  /// Reads exactly this character after blanks.
  void expect(char c);
  /// Reads the character if it comes next.
  bool take(char c) noexcept;
  /// The next value from its first to its last character.
  std::string_view value();
  /// The next text between its quotes, escapes and all.
  std::string_view raw_string();
  /// Only blanks may follow.
  void end();

  [[noreturn]] void fail(std::string_view expected) const;

 private:
  std::string_view text_;
  std::string_view subject_;
  std::size_t at_ = 0;
};

/// True when a raw JSON value is nothing: null, {} or [].
bool is_nothing(std::string_view raw) noexcept;

}  // namespace errand::protocol
