#include "core/iso8601.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace errand::core {
namespace {

using std::chrono::days;
using std::chrono::sys_days;

constexpr TimePoint kFirst{sys_days{std::chrono::year{1} / 1 / 1}};
constexpr TimePoint kLast{sys_days{std::chrono::year{10'000} / 1 / 1} - Microseconds{1}};

// Reads fixed-width fields from the front; `good` falls at the first thing that is not as expected.
class Fields {
 public:
  explicit Fields(std::string_view text) : text_(text) {}

  int digits(std::size_t count) {
    int value = 0;
    if (text_.size() < count) good_ = false;
    for (std::size_t i = 0; good_ && i < count; ++i) {
      const char c = text_[i];
      good_ = c >= '0' && c <= '9';
      value = value * 10 + (c - '0');
    }
    if (good_) text_.remove_prefix(count);
    return good_ ? value : 0;
  }
  bool take(std::string_view any_of) {
    if (!good_ || text_.empty() || any_of.find(text_.front()) == std::string_view::npos) return false;
    taken_ = text_.front();
    text_.remove_prefix(1);
    return true;
  }
  void expect(std::string_view any_of) {
    if (!take(any_of)) good_ = false;
  }
  bool digit_next() const { return good_ && !text_.empty() && text_.front() >= '0' && text_.front() <= '9'; }
  char taken() const { return taken_; }
  bool good() const { return good_; }
  bool done() const { return good_ && text_.empty(); }

 private:
  std::string_view text_;
  char taken_ = '\0';
  bool good_ = true;
};

}  // namespace

std::string format_iso8601(TimePoint time) {
  time = std::clamp(time, kFirst, kLast);
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  std::string out = "0000-00-00T00:00:00.000000+00:00";
  // Digits from the right, ending before `end`.
  const auto put = [&out](std::size_t end, std::size_t digits, std::uint64_t value) {
    for (; digits > 0; --digits, value /= 10) out[--end] = static_cast<char>('0' + value % 10);
  };
  put(4, 4, static_cast<std::uint64_t>(static_cast<int>(date.year())));
  put(7, 2, static_cast<unsigned>(date.month()));
  put(10, 2, static_cast<unsigned>(date.day()));
  put(13, 2, static_cast<std::uint64_t>(clock.hours().count()));
  put(16, 2, static_cast<std::uint64_t>(clock.minutes().count()));
  put(19, 2, static_cast<std::uint64_t>(clock.seconds().count()));
  put(26, 6, static_cast<std::uint64_t>(clock.subseconds().count()));
  return out;
}

std::optional<TimePoint> parse_iso8601(std::string_view text) {
  Fields in(text);
  const int year = in.digits(4);
  in.expect("-");
  const int month = in.digits(2);
  in.expect("-");
  const int day = in.digits(2);
  in.expect("Tt ");
  const int hour = in.digits(2);
  in.expect(":");
  const int minute = in.digits(2);
  int second = 0;
  std::int64_t micros = 0;
  if (in.take(":")) {
    second = in.digits(2);
    if (in.take(".,")) {
      if (!in.digit_next()) return std::nullopt;
      std::int64_t unit = 100'000;
      while (in.digit_next()) {
        micros += in.digits(1) * unit;
        unit /= 10;
      }
    }
  }
  std::chrono::minutes offset{0};
  if (in.take("Zz")) {
    // nothing more to read
  } else if (in.take("+-")) {
    const int sign = in.taken() == '-' ? -1 : 1;
    const int hours = in.digits(2);
    int minutes = 0;
    if (in.take(":") || in.digit_next()) minutes = in.digits(2);
    if (hours > 23 || minutes > 59) return std::nullopt;
    offset = sign * (std::chrono::hours{hours} + std::chrono::minutes{minutes});
  }
  if (!in.done()) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(month)},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  if (year < 1 || !date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const TimePoint out = sys_days{date} + std::chrono::hours{hour} + std::chrono::minutes{minute} +
                        std::chrono::seconds{second} + Microseconds{micros} - offset;
  if (out < kFirst || out > kLast) return std::nullopt;
  return out;
}

}  // namespace errand::core
