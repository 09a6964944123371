// Reads JSON texts and writes each one back, so that tests/interop/test_json_oracle.py can compare with Python.
//
// Standard input and output hold frames: a line "WORD LENGTH", then LENGTH bytes. In: WORD is the style to write in,
// `plain`, `compact`, `unicode` or `indented`, and the bytes are the text. Out: `ok` and the text written again, or
// `error` and the message.
#include <errand/error.hpp>
#include <errand/value.hpp>

#include <iostream>
#include <string>

namespace {

errand::JsonStyle style_named(const std::string& word) {
  if (word == "compact") return {.spaces = false};
  if (word == "unicode") return {.ascii = false};
  if (word == "indented") return {.indent = 2};
  return {};
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::string word;
  std::size_t length = 0;
  std::string text;
  while (std::cin >> word >> length) {
    text.resize(length);
    if (std::cin.get() != '\n' || !std::cin.read(text.data(), static_cast<std::streamsize>(length))) return 1;
    std::string answer;
    const char* verdict = "ok";
    try {
      answer = errand::to_json(errand::parse_json(text), style_named(word));
    } catch (const errand::Error& error) {
      verdict = "error";
      answer = error.what();
    }
    std::cout << verdict << ' ' << answer.size() << '\n' << answer;
  }
  std::cout.flush();
  return std::cin.eof() && std::cout.good() ? 0 : 1;
}
