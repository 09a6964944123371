#pragma once
// UTF-8 of RFC 3629, and the generalised form that also holds lone surrogates (as Python's "surrogatepass").

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
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

/// A byte that a JSON text carries as it is whatever its style: printable ASCII but quote and backslash.
constexpr bool is_plain(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/// How many plain bytes stand at the start; eight are looked at in one step, since texts are most of every message.
inline std::size_t plain_run(std::string_view text) noexcept {
  std::size_t at = 0;
  if constexpr (std::endian::native == std::endian::little) {
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    for (; text.size() - at >= 8; at += 8) {
      std::uint64_t eight = 0;
      std::memcpy(&eight, text.data() + at, 8);
      // The high bit of a byte is set where the byte is below 0x20, a quote, a backslash, DEL or not ASCII. A borrow
      // can only spoil bytes behind the first of these, and the first is what is asked for.
      const std::uint64_t special = ((eight - kOnes * 0x20) | ((eight ^ kOnes * '"') - kOnes) |
                                     ((eight ^ kOnes * '\\') - kOnes) | ((eight ^ kOnes * 0x7f) - kOnes) | eight) &
                                    (kOnes * 0x80);
      if (special != 0) return at + static_cast<std::size_t>(std::countr_zero(special)) / 8;
    }
  }
  while (at < text.size() && is_plain(text[at])) ++at;
  return at;
}

/// All of it is well-formed; surrogates are not.
bool is_valid(std::string_view text) noexcept;

}  // namespace errand::utf8
