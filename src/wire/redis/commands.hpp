#pragma once
// Commands: what is to be sent together, as the bytes Redis reads; and scripts with the digest it knows them by.

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace errand::redis {

/// A Lua script with its digest, both embedded by the build (cmake/embed_lua.cmake).
struct Script {
  std::string_view source;
  std::string_view sha;
};

/// A value that only grows.
///
///   Commands commands;
///   commands.begin("LPUSH").word(key);
///   for (const std::string& text : texts) commands.word(text);
class Commands {
 public:
  void add(std::initializer_list<std::string_view> words);
  Commands& begin(std::string_view name);
  /// EVALSHA with its keys; the arguments follow as words.
  Commands& eval(const Script& script, std::span<const std::string> keys);
  Commands& word(std::string_view text);
  template <std::integral T>
  Commands& word(T number) {
    return word(std::string_view(std::to_string(number)));
  }

  std::size_t count() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  /// Ends the last command.
  const std::string& bytes();

 private:
  void close();
  std::string bytes_;
  std::string open_;  // words of the last command, whose number is not known yet
  std::size_t words_ = 0;
  std::size_t count_ = 0;
};

}  // namespace errand::redis
