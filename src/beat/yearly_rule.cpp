#include "beat/yearly_rule.hpp"

namespace errand::beat {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::sys_days;
using std::chrono::year;
using Moment = YearlyRule::Moment;

// Reads from the front; `good` falls at the first thing that is not as expected.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool take(char c) {
    if (!good_ || text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) good_ = false;
  }
  bool next_is(char c) const { return good_ && !text_.empty() && text_.front() == c; }

  int number(int lowest, int highest) {
    int value = 0;
    std::size_t digits = 0;
    for (; digits < 3 && !text_.empty() && text_.front() >= '0' && text_.front() <= '9'; ++digits) {
      value = value * 10 + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    if (digits == 0 || value < lowest || value > highest) good_ = false;
    return value;
  }

  // A name is of no use to us: three letters or more, or anything of letters, digits and signs between < and >.
  void abbreviation() {
    const bool quoted = take('<');
    std::size_t length = 0;
    while (good_ && length < text_.size() && is_part_of_name(text_[length], quoted)) ++length;
    if (length < 3) good_ = false;
    if (good_) text_.remove_prefix(length);
    if (quoted) expect('>');
  }

  // [+-]h[h[h]][:mm[:ss]]
  seconds time(int highest_hour) {
    const int sign = take('-') ? -1 : 1;
    if (sign == 1) take('+');
    seconds value = hours{number(0, highest_hour)};
    if (take(':')) value += minutes{number(0, 59)};
    if (take(':')) value += seconds{number(0, 59)};
    return sign * value;
  }

  Moment moment() {
    Moment out;
    expect(',');
    if (take('M')) {
      out.kind = Moment::Kind::weekday_of_month;
      out.month = number(1, 12);
      expect('.');
      out.week = number(1, 5);
      expect('.');
      out.day = number(0, 6);
    } else if (take('J')) {
      out.kind = Moment::Kind::day_without_leap;
      out.day = number(1, 365);
    } else {
      out.kind = Moment::Kind::day_of_year;
      out.day = number(0, 365);
    }
    out.time = take('/') ? time(167) : hours{2};
    return out;
  }

  bool good() const { return good_; }
  bool done() const { return good_ && text_.empty(); }

 private:
  static bool is_part_of_name(char c, bool quoted) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    return quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-');
  }

  std::string_view text_;
  bool good_ = true;
};

sys_days day_of(const Moment& moment, year in) {
  const sys_days new_year{in / 1 / 1};
  switch (moment.kind) {
    case Moment::Kind::day_of_year:
      return new_year + days{moment.day};
    case Moment::Kind::day_without_leap:
      return new_year + days{moment.day - 1 + (in.is_leap() && moment.day >= 60 ? 1 : 0)};
    case Moment::Kind::weekday_of_month:
      break;
  }
  const std::chrono::year_month month{in, std::chrono::month{static_cast<unsigned>(moment.month)}};
  const std::chrono::weekday weekday{static_cast<unsigned>(moment.day)};
  if (moment.week == 5) return sys_days{month / weekday[std::chrono::last]};
  return sys_days{month / weekday[static_cast<unsigned>(moment.week)]};
}

}  // namespace

std::array<Transition, 2> YearlyRule::changes(year in) const {
  const Daylight& summer = *daylight;
  return {{{day_of(summer.begins, in) + summer.begins.time - standard, summer.offset},
           {day_of(summer.ends, in) + summer.ends.time - summer.offset, standard}}};
}

std::optional<YearlyRule> parse_yearly_rule(std::string_view text) {
  // POSIX counts what is added to local time to get UTC; everybody else the other way round.
  Reader in(text);
  YearlyRule rule;
  in.abbreviation();
  rule.standard = -in.time(24);
  if (in.done()) return rule;
  YearlyRule::Daylight summer;
  in.abbreviation();
  summer.offset = in.next_is(',') ? rule.standard + hours{1} : -in.time(24);
  summer.begins = in.moment();
  summer.ends = in.moment();
  if (!in.done()) return std::nullopt;
  rule.daylight = summer;
  return rule;
}

}  // namespace errand::beat
