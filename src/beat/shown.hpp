#pragma once
// Somebody's text in a message: short, and safe to print.

#include "core/text.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace errand::beat {

/// At most `longest` bytes of it. Cut before it is escaped as well: what is refused for its length is not copied.
inline std::string shown(std::string_view text, std::size_t longest) {
  return core::shorten(core::escape_controls(text.substr(0, 2 * longest)), longest);
}

}  // namespace errand::beat
