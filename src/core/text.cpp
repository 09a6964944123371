#include "core/text.hpp"

#include "core/utf8.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>

namespace errand::core {

namespace {
struct Unit {
  std::string_view name;
  std::int64_t milliseconds;
};
// Longer names first, so that "ms" and "min" are not read as "m".
constexpr std::array<Unit, 9> kUnits{{{"min", 60'000},
                                      {"sec", 1'000},
                                      {"day", 86'400'000},
                                      {"ms", 1},
                                      {"s", 1'000},
                                      {"m", 60'000},
                                      {"h", 3'600'000},
                                      {"d", 86'400'000},
                                      {"w", 604'800'000}}};
constexpr double kMostMilliseconds = 9e15;  // 285 000 years; below what int64 microseconds can hold
}  // namespace

std::optional<Milliseconds> parse_duration(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  double total = 0;
  bool first = true;
  while (!text.empty()) {
    double number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (parsed.ec != std::errc{} || !std::isfinite(number) || text.front() == '-') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
    if (text.empty()) {
      if (!first) return std::nullopt;
      total = number * 1'000;
      break;
    }
    const auto unit = std::find_if(kUnits.begin(), kUnits.end(),
                                   [&](const Unit& one) { return text.substr(0, one.name.size()) == one.name; });
    if (unit == kUnits.end()) return std::nullopt;
    total += number * static_cast<double>(unit->milliseconds);
    text.remove_prefix(unit->name.size());
    first = false;
  }
  if (total > kMostMilliseconds) return std::nullopt;
  return Milliseconds{static_cast<std::int64_t>(std::llround(negative ? -total : total))};
}

std::string format_duration(Milliseconds duration) {
  const std::int64_t count = duration.count();
  if (count == 0) return "0s";
  for (const Unit& unit : {Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"min", 60'000}, Unit{"s", 1'000}}) {
    if (count % unit.milliseconds == 0) return std::to_string(count / unit.milliseconds) + std::string(unit.name);
  }
  return std::to_string(count) + "ms";
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t limit) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || value > limit)
    return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t factor = 1;
  for (const auto& [suffix, shift] : {std::pair<std::string_view, int>{"KiB", 10},
                                      {"MiB", 20},
                                      {"GiB", 30},
                                      {"K", 10},
                                      {"M", 20},
                                      {"G", 30},
                                      {"B", 0}}) {
    if (text.size() > suffix.size() && text.substr(text.size() - suffix.size()) == suffix) {
      factor = std::uint64_t{1} << shift;
      text.remove_suffix(suffix.size());
      break;
    }
  }
  const auto number = parse_number(text, std::uint64_t{1} << 32);
  if (!number) return std::nullopt;
  return *number * factor;
}

std::string_view nearest_word(std::string_view word, const std::vector<std::string_view>& known) {
  constexpr std::size_t kLongest = 100;  // nobody misspells longer words; keeps the work bounded
  if (word.size() > kLongest) return {};
  std::string_view best;
  std::size_t best_distance = word.size() / 3 + 1;
  for (const std::string_view candidate : known) {
    if (candidate.size() > kLongest) continue;
    // Damerau's variant: two neighbours swapped count as one mistake.
    std::vector<std::size_t> before(candidate.size() + 1), row(candidate.size() + 1), older;
    std::iota(before.begin(), before.end(), std::size_t{0});
    for (std::size_t i = 1; i <= word.size(); ++i) {
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t changed = before[j - 1] + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        row[j] = std::min({before[j] + 1, row[j - 1] + 1, changed});
        if (i > 1 && j > 1 && word[i - 1] == candidate[j - 2] && word[i - 2] == candidate[j - 1]) {
          row[j] = std::min(row[j], older[j - 2] + 1);
        }
      }
      older = before;
      before = row;
    }
    if (before.back() <= best_distance && (best.empty() || before.back() < best_distance)) {
      best = candidate;
      best_distance = before.back();
    }
  }
  return best;
}

namespace {

// Line separators, and what turns the reading direction around: a name must not rewrite the line it is shown in.
bool breaks_lines_or_turns_them(std::uint32_t code) noexcept {
  return code == 0x2028 || code == 0x2029 || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string escape_controls(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  const auto hex = [&](std::uint32_t code, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kHex[code >> shift & 15];
  };
  while (!text.empty()) {
    const utf8::Decoded next = utf8::decode(text);
    const std::size_t length = std::max<std::size_t>(next.length, 1);
    if (next.code == '\n') {
      out += "\\n";
    } else if (next.code == '\r') {
      out += "\\r";
    } else if (next.code == '\t') {
      out += "\\t";
    } else if (next.length == 0 || next.code < 0x20 || (next.code >= 0x7f && next.code < 0xa0)) {
      // Bytes that are no UTF-8, and the controls: C0, DEL, and C1, which some terminals obey.
      out += "\\x";
      hex(next.length == 0 ? static_cast<unsigned char>(text.front()) : next.code, 2);
    } else if (breaks_lines_or_turns_them(next.code) || (next.code >= 0xd800 && next.code < 0xe000)) {
      out += "\\u";
      hex(next.code, 4);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string shorten(std::string_view text, std::size_t limit) {
  constexpr std::string_view kCut = "...";
  if (text.size() <= limit) return std::string(text);
  if (limit < kCut.size()) return std::string(kCut.substr(0, limit));
  std::size_t end = limit - kCut.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + std::string(kCut);
}

}  // namespace errand::core
