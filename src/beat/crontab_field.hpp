#pragma once
// One field of a crontab: the text, and the numbers it stands for.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace errand::beat {

/// What may stand in a field.
struct CrontabField {
  std::string_view name;  ///< as Celery and CrontabFields call it
  int lowest = 0;
  int highest = 0;
  std::span<const std::string_view> names;  ///< of three letters, the first one for `lowest`; empty: numbers only
  std::string_view hint;                    ///< for those who write the number after the highest
};

extern const CrontabField kMinute, kHour, kDayOfMonth, kMonthOfYear, kDayOfWeek;

/// Longer texts are refused; every number of every field, written out, is below half of it.
inline constexpr std::size_t kLongestField = 1000;

/// The set as bits: bit n for the number n. Throws Error{invalid} naming field, what was expected, what came, what to
/// do.
std::uint64_t parse_field(const CrontabField& field, std::string_view text);

}  // namespace errand::beat
