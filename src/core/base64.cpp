#include "core/base64.hpp"

#include <array>
#include <cstdint>

namespace errand::core {

namespace {
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 0xff;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values{};
  for (auto& value : values) value = kNone;
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr auto kValues = make_values();
}  // namespace

void base64_append(std::string& out, std::string_view bytes) {
  const std::size_t start = out.size();
  out.resize(start + (bytes.size() + 2) / 3 * 4);
  char* to = out.data() + start;
  const auto* from = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  for (; left >= 3; left -= 3, from += 3) {
    const std::uint32_t three =
        static_cast<std::uint32_t>(from[0]) << 16 | static_cast<std::uint32_t>(from[1]) << 8 | from[2];
    *to++ = kAlphabet[three >> 18];
    *to++ = kAlphabet[three >> 12 & 63];
    *to++ = kAlphabet[three >> 6 & 63];
    *to++ = kAlphabet[three & 63];
  }
  if (left == 0) return;
  const std::uint32_t rest =
      static_cast<std::uint32_t>(from[0]) << 16 | (left == 2 ? static_cast<std::uint32_t>(from[1]) << 8 : 0u);
  *to++ = kAlphabet[rest >> 18];
  *to++ = kAlphabet[rest >> 12 & 63];
  *to++ = left == 2 ? kAlphabet[rest >> 6 & 63] : '=';
  *to++ = '=';
}

std::string base64_encode(std::string_view bytes) {
  std::string out;
  base64_append(out, bytes);
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return std::string();
  std::size_t padding = 0;
  if (text.back() == '=') padding = text[text.size() - 2] == '=' ? 2 : 1;
  std::string out;
  out.resize(text.size() / 4 * 3 - padding);
  char* to = out.data();
  const auto* from = reinterpret_cast<const unsigned char*>(text.data());
  const std::size_t whole = text.size() / 4 - (padding > 0 ? 1 : 0);
  for (std::size_t i = 0; i < whole; ++i, from += 4) {
    const std::uint8_t a = kValues[from[0]], b = kValues[from[1]], c = kValues[from[2]], d = kValues[from[3]];
    if ((a | b | c | d) & 0x80) return std::nullopt;
    const std::uint32_t three = static_cast<std::uint32_t>(a) << 18 | static_cast<std::uint32_t>(b) << 12 |
                                static_cast<std::uint32_t>(c) << 6 | d;
    *to++ = static_cast<char>(three >> 16);
    *to++ = static_cast<char>(three >> 8 & 0xff);
    *to++ = static_cast<char>(three & 0xff);
  }
  if (padding == 0) return out;
  const std::uint8_t a = kValues[from[0]], b = kValues[from[1]], c = padding == 1 ? kValues[from[2]] : std::uint8_t{0};
  if ((a | b | c) & 0x80) return std::nullopt;
  // Bits that no byte takes must be zero, or two texts would mean the same bytes.
  if (padding == 2 ? (b & 15) != 0 : (c & 3) != 0) return std::nullopt;
  *to++ = static_cast<char>(a << 2 | b >> 4);
  if (padding == 1) *to++ = static_cast<char>((b & 15) << 4 | c >> 2);
  return out;
}

}  // namespace errand::core
