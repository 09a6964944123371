#pragma once
// Base64 of RFC 4648 section 4, strict: padding required, no line breaks, no bits left over.

#include <optional>
#include <string>
#include <string_view>

namespace errand::core {

/// Appends the base64 form of `bytes` to `out`.
void base64_append(std::string& out, std::string_view bytes);
std::string base64_encode(std::string_view bytes);
/// nullopt: not base64.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace errand::core
