#pragma once
// UTF-8 of RFC 3629, and the generalised form that also holds lone surrogates (as Python's "surrogatepass").

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace errand::utf8 {

/// Length of the well-formed sequence at the start; 0: none. Surrogates are not well-formed.
std::size_t sequence(std::string_view text) noexcept;

/// Decodes the sequence at the start, lone surrogates included; length 0: malformed.
struct Decoded {
  std::uint32_t code = 0;
  std::size_t length = 0;
};
Decoded decode(std::string_view text) noexcept;

/// Appends a code point; surrogates as their three bytes.
void append(std::string& out, std::uint32_t code);

/// A byte that a JSON text carries as it is: printable ASCII but quote and backslash, and DEL.
constexpr bool is_plain(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

}  // namespace errand::utf8
