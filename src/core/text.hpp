#pragma once
// Small words: durations and sizes as people write them, suggestions for misspelt words, text made safe to print.

#include <errand/time.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::core {

/// "250ms", "10s", "5min", "2h", "1d", "1h30m", or a bare number of seconds ("1.5"). A leading '-' is allowed.
std::optional<Milliseconds> parse_duration(std::string_view text);
/// The shortest of those forms that is exact: 90s is "90s", 600s is "10min".
std::string format_duration(Milliseconds duration);
/// "512", "64KiB", "16MiB", "1GiB" (and K, M, G as powers of 1024).
std::optional<std::uint64_t> parse_size(std::string_view text);
/// Digits only, at most `limit`.
std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t limit);

/// The known word with the smallest edit distance, if it is near enough to be a typing mistake; "" otherwise.
std::string_view nearest_word(std::string_view word, const std::vector<std::string_view>& known);

/// Control characters (C0, DEL, C1), line separators, marks that turn the reading direction, lone surrogates and bytes
/// that are no UTF-8 escaped, so that one text stays on one line, no terminal obeys it and every log can hold it.
std::string escape_controls(std::string_view text);

/// Cut to at most `limit` bytes at a character's border, with "..." when something was cut.
std::string shorten(std::string_view text, std::size_t limit);

}  // namespace errand::core
