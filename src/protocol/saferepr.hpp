#pragma once
// argsrepr and kwargsrepr: values as Python would print them, cut to a length (celery/utils/saferepr.py,
// celery-wire section 1.6). For people: logs, events, Flower, inspect.

#include <errand/value.hpp>

#include <cstddef>
#include <span>
#include <string>

namespace errand::protocol {

inline constexpr std::size_t kReprLimit = 1024;  ///< characters, before the closing brackets
inline constexpr std::size_t kReprDepth = 3;     ///< containers nested deeper print as [...] and {...}
inline constexpr std::string_view kMask = "'********'";

/// "[1, 'two', {'three': None}]"
std::string saferepr(const Value& value, std::size_t limit = kReprLimit);
/// "(2, 'cat.png')": a tuple; the arguments at these positions are masked.
std::string args_repr(const Array& args, std::span<const std::size_t> secret = {}, std::size_t limit = kReprLimit);
/// "{'width': 200}"; the arguments of these names are masked.
std::string kwargs_repr(const Object& kwargs, std::span<const std::string> secret = {}, std::size_t limit = kReprLimit);

}  // namespace errand::protocol
