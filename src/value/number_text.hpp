#pragma once
// Numbers as Python's float() reads and float.__repr__ writes them, whatever the locale of the process is.

#include <string>
#include <string_view>

namespace errand::value {

/// Reads digits[.digits][e[+-]digits] with an optional '-'; what no double can hold becomes infinity or zero, as in
/// Python. The caller has checked the grammar.
double read_double(std::string_view text) noexcept;

/// Appends the shortest digits that read back equal: 0.1, 100000.0, 1e+16, 1e-05; NaN, Infinity, -Infinity.
void append_double(std::string& out, double number);

/// "-12" or "0": digits without leading zeros, and no "-0".
bool is_canonical_integer(std::string_view text) noexcept;

}  // namespace errand::value
