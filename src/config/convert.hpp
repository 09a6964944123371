#pragma once
// From what a file, a variable or a flag says to a setting's value, and back to text.

#include "config/setting.hpp"

#include <errand/error.hpp>
#include <errand/value.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace errand::config {

/// Either the value in the form a setting is held in, or what is wrong: "expected an integer from 0 to 9, got text".
struct Converted {
  std::optional<Value> value;
  std::string wrong;
};

/// From text, as environment variables and flags give it.
Converted convert_text(const Setting& setting, std::string_view text);
/// From a value of the file: the file's own types, and text where units need it ("90s", "16MiB").
Converted convert_value(const Setting& setting, const Value& given);

/// "an integer from 0 to 4096", "a duration such as 90s or 5min (a bare number is seconds)".
std::string expectation(const Setting& setting);
/// As a person would write it: "90s", "16MiB", "celery"; "" when not set. Secrets in URLs are masked.
std::string show(const Setting& setting, const Value& value);
/// The default as convert_text() reads it; null when there is none.
Value fallback(const Setting& setting);

/// What is wrong with a queue's name; "" when nothing is. The same rule for every place that takes one.
std::string queue_name_mistake(std::string_view name);

/// quoted(text): `"text"` as printed in messages: one line, at most 60 bytes, secrets masked. An object, not a
/// function: for a function the namespace of a std::string is searched too, and std::quoted is found there.
struct Quoted {
  std::string operator()(std::string_view text) const;
};
inline constexpr Quoted quoted;
/// "integer 7", "text "four"", "array": what came, for messages.
std::string describe(const Value& value);

}  // namespace errand::config
