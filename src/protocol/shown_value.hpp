#pragma once
// Values on their way to people's eyes: argsrepr, events.

#include <errand/error.hpp>
#include <errand/value.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace errand::protocol {

/// A result longer than this is not parsed for the sake of being shown.
inline constexpr std::size_t kMostShown = 64u << 10;

/// The value to show; nullopt: too long, or no JSON. What is shown instead is "...".
inline std::optional<Value> shown_value(std::string_view json) {
  if (json.size() > kMostShown) return std::nullopt;
  try {
    return parse_json(json);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Celery writes None where we have an empty text.
inline Value text_or_null(const std::string& text) { return text.empty() ? Value() : Value(text); }

}  // namespace errand::protocol
