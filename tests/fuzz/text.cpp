// Any bytes: made safe for a log they are one line of UTF-8; base64, durations and sizes that were read are written so
// that they read back equal.

#include "core/text.hpp"
#include "core/base64.hpp"
#include "core/utf8.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace errand;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string safe = core::escape_controls(text);
  const bool controls = std::any_of(safe.begin(), safe.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; });
  if (controls || !utf8::is_valid(safe) || core::escape_controls(safe) != safe) std::abort();
  const std::string cut = core::shorten(safe, size / 2);
  if (cut.size() > size / 2 || !utf8::is_valid(cut)) std::abort();
  if (core::base64_decode(core::base64_encode(text)) != text) std::abort();
  if (const auto bytes = core::base64_decode(text); bytes && core::base64_encode(*bytes) != text) std::abort();
  if (const auto time = core::parse_duration(text);
      time && core::parse_duration(core::format_duration(*time)) != time) {
    std::abort();
  }
  if (const auto bytes = core::parse_size(text);
      bytes && core::parse_size(std::to_string(*bytes) + "B") != bytes && *bytes <= (std::uint64_t{1} << 32)) {
    std::abort();
  }
  return 0;
}
