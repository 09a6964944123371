#include "beat/crontab_field.hpp"

#include "beat/shown.hpp"
#include "core/ascii.hpp"
#include "core/text.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

namespace errand::beat {
namespace {

constexpr std::array<std::string_view, 7> kWeekdays{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
constexpr std::array<std::string_view, 12> kMonths{"jan", "feb", "mar", "apr", "may", "jun",
                                                   "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::size_t kLongestShown = 40;
constexpr std::uint64_t kLargestNumber = 1'000'000;  // of what is read at all; a step that large takes the first number
constexpr std::string_view kNoHint;

std::string quoted(std::string_view text) { return "'" + shown(text, kLongestShown) + "'"; }

bool is_letter(char c) { return core::ascii_lower(c) >= 'a' && core::ascii_lower(c) <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// As Celery: the first three letters count, in any capitals, so that both "sun" and "Sunday" are known.
std::optional<int> place_in(std::span<const std::string_view> names, std::string_view word) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto same = [](char one, char other) { return one == core::ascii_lower(other); };
    if (word.size() >= 3 && std::equal(names[i].begin(), names[i].end(), word.begin(), same)) {
      return static_cast<int>(i);
    }
  }
  return std::nullopt;
}

class FieldParser {
 public:
  FieldParser(const CrontabField& field, std::string_view text) : field_(field), text_(text) {}

  std::uint64_t parse() const {
    if (text_.size() > kLongestField) refuse("at most 1000 characters", text_, "use ranges and steps");
    std::uint64_t set = 0;
    for (std::string_view rest = text_;;) {
      const std::size_t comma = rest.find(',');
      set |= parse_part(trimmed(rest.substr(0, comma)));
      if (comma == std::string_view::npos) return set;
      rest.remove_prefix(comma + 1);
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& expected, std::string_view got, std::string_view hint) const {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "crontab",
                 .subject = std::string(field_.name) + " " + quoted(text_),
                 .detail = std::string(field_.name) + ": expected " + expected + ", got " + quoted(got) +
                           (hint.empty() ? "" : "; ") + std::string(hint)});
  }

  std::string allowed() const {
    std::string text = std::to_string(field_.lowest) + " to " + std::to_string(field_.highest);
    if (!field_.names.empty())
      text.append(" or ").append(field_.names.front()).append(" to ").append(field_.names.back());
    return text;
  }

  std::uint64_t parse_part(std::string_view part) const {
    if (part.empty()) {
      refuse("numbers, ranges (1-5), steps (*/2) or * with commas between", part, "write * for every one");
    }
    const std::size_t slash = part.find('/');
    const std::string_view what = part.substr(0, slash);
    const std::size_t dash = what.find('-');
    int first = field_.lowest;
    int last = field_.highest;
    if (what != "*") {
      if (what.find('*') != std::string_view::npos) refuse("* alone or with a step (*/2)", part, kNoHint);
      if (what.starts_with('-')) refuse(allowed(), part, "numbers have no sign");
      first = parse_number(what.substr(0, dash));
      last = dash == std::string_view::npos ? first : parse_number(what.substr(dash + 1));
      // Celery says this of 5/10, too. Elsewhere it means 5-59/10.
      if (slash != std::string_view::npos && dash == std::string_view::npos) {
        refuse("a step behind * or a range", part,
               "write " + std::string(what) + "-" + std::to_string(field_.highest) + std::string(part.substr(slash)));
      }
    }
    const std::uint64_t step = slash == std::string_view::npos ? 1 : parse_step(part.substr(slash + 1), part);
    const int size = field_.highest - field_.lowest + 1;
    // A range whose end is before its beginning goes on at the lowest number; steps count through.
    const int length = (last - first + size) % size + 1;
    std::uint64_t set = 0;
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(length); i += step) {
      set |= std::uint64_t{1} << (field_.lowest + (first - field_.lowest + static_cast<int>(i)) % size);
    }
    return set;
  }

  std::uint64_t parse_step(std::string_view text, std::string_view part) const {
    const auto step = core::parse_number(text, kLargestNumber);
    if (!step || *step == 0) refuse("a step from 1 on behind the /", part, kNoHint);
    return *step;
  }

  int parse_number(std::string_view word) const {
    if (!word.empty() && std::all_of(word.begin(), word.end(), is_letter)) return parse_name(word);
    if (word.empty() || !std::all_of(word.begin(), word.end(), is_digit)) refuse(allowed(), word, kNoHint);
    const auto value = core::parse_number(word, kLargestNumber);
    if (!value || static_cast<int>(*value) > field_.highest || static_cast<int>(*value) < field_.lowest) {
      const bool next = value && static_cast<int>(*value) == field_.highest + 1;
      refuse(allowed(), word, next ? field_.hint : kNoHint);
    }
    return static_cast<int>(*value);
  }

  // Celery takes the name of a weekday in every field, where "mon" is the first month or the minute 1. That is a
  // mistake each time, so it is one here.
  int parse_name(std::string_view word) const {
    if (const auto place = place_in(field_.names, word)) return field_.lowest + *place;
    std::string_view hint;
    if (field_.names.data() != kWeekdays.data() && place_in(kWeekdays, word)) {
      hint = "names of days stand in day_of_week, the fifth field";
    } else if (field_.names.data() != kMonths.data() && place_in(kMonths, word)) {
      hint = "names of months stand in month_of_year, the fourth field";
    }
    refuse(allowed(), word, hint);
  }

  const CrontabField& field_;
  std::string_view text_;
};

}  // namespace

const CrontabField kMinute{"minute", 0, 59, {}, "the full hour is minute 0"};
const CrontabField kHour{"hour", 0, 23, {}, "midnight is hour 0"};
const CrontabField kDayOfMonth{"day_of_month", 1, 31, {}, kNoHint};
const CrontabField kMonthOfYear{"month_of_year", 1, 12, kMonths, kNoHint};
const CrontabField kDayOfWeek{"day_of_week", 0, 6, kWeekdays, "Sunday is 0 or sun"};

std::uint64_t parse_field(const CrontabField& field, std::string_view text) { return FieldParser(field, text).parse(); }

}  // namespace errand::beat
