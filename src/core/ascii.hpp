#pragma once

namespace errand::core {

/// Lower case of A to Z, whatever the locale says; every other byte stays.
constexpr char ascii_lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace errand::core
