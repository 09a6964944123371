#pragma once
// What is not there is null, in everything that is written as JSON.

#include <errand/value.hpp>

#include <string>

namespace errand {

inline Value text_or_null(const std::string& text) { return text.empty() ? Value() : Value(text); }

}  // namespace errand
