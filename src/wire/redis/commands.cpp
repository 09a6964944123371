#include "wire/redis/commands.hpp"

#include <array>
#include <charconv>

namespace errand::redis {

namespace {

void append_head(std::string& out, char type, std::size_t number) {
  std::array<char, 24> text{};
  text[0] = type;
  const auto end = std::to_chars(text.data() + 1, text.data() + text.size(), number).ptr;
  out.append(text.data(), end);
  out += "\r\n";
}

}  // namespace

void Commands::close() {
  if (words_ == 0) return;
  append_head(bytes_, '*', words_);
  bytes_ += open_;
  open_.clear();
  words_ = 0;
}

const std::string& Commands::bytes() {
  close();
  return bytes_;
}

Commands& Commands::begin(std::string_view name) {
  close();
  count_ += 1;
  return word(name);
}

Commands& Commands::word(std::string_view text) {
  append_head(open_, '$', text.size());
  open_ += text;
  open_ += "\r\n";
  words_ += 1;
  return *this;
}

void Commands::add(std::initializer_list<std::string_view> words) {
  close();
  count_ += 1;
  for (const std::string_view one : words) word(one);
}

Commands& Commands::eval(const Script& script, std::span<const std::string> keys) {
  begin("EVALSHA").word(script.sha).word(keys.size());
  for (const std::string& key : keys) word(key);
  return *this;
}

}  // namespace errand::redis
