// F103: every change of every clock of the time zone database from 1970 to 2100, minute by minute, with the C library
// as the judge of what clocks show.
#include "beat/zone_files.hpp"
#include "libc_zone.hpp"
#include "times.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;
using std::chrono::seconds;
using std::chrono::sys_seconds;

namespace {

constexpr std::int64_t kFrom = 0;
const std::int64_t kTo = std::chrono::floor<seconds>(at("2101-01-01 00:00")).time_since_epoch().count();
constexpr std::int64_t kNever = -1;
constexpr std::int64_t kHour = 3600;

TimePoint point(std::int64_t utc) { return sys_seconds{seconds{utc}}; }

// One name for each content: many zones are links to others.
std::vector<std::string> distinct_zones() {
  std::map<std::string, std::string> by_content;
  const std::string directory = beat::zone_directory("");
  for (const std::string& name : beat::zone_names(directory)) {
    std::ifstream in(directory + "/" + name, std::ios::binary);
    by_content.try_emplace(std::string(std::istreambuf_iterator<char>(in), {}), name);
  }
  std::vector<std::string> names;
  for (const auto& [content, name] : by_content) names.push_back(name);
  return names;
}

// What the clocks show in some hours around one change, asked of the C library once for every full minute.
class Around {
 public:
  Around(const LibcZone& libc, const LibcZone::Change& change) : change_(change) {
    const std::int64_t reach = std::abs(change.after - change.before) + kHour;
    begin = (change.at - reach) / 60 * 60;
    end = begin + 2 * reach;
    // Only Liberia, until 1972, had clocks that were not whole minutes from UTC.
    const std::int64_t step = change.before % 60 == 0 && change.after % 60 == 0 ? 60 : 1;
    for (std::int64_t utc = begin; utc < end; utc += step) {
      const std::int64_t local = utc + libc.offset(utc);
      if (local % 60 == 0) minutes_.emplace_back(utc, local / 60);
    }
    first_ = minutes_.front().second;
    first_shown_.assign(static_cast<std::size_t>(minutes_.back().second - first_ + 1), kNever);
    for (const auto& [utc, local] : minutes_) {
      std::int64_t& shown = first_shown_[static_cast<std::size_t>(local - first_)];
      if (shown == kNever) shown = utc;
    }
  }

  // Every instant whose minute is named.
  template <class Names>
  std::vector<std::int64_t> each_time(Names names) const {
    std::vector<std::int64_t> out;
    for (const auto& [utc, local] : minutes_) {
      if (names(local)) out.push_back(utc);
    }
    return out;
  }
  // Every local time that is named, once: when it is first shown, or at the end of the gap.
  template <class Names>
  std::vector<std::int64_t> once(Names names) const {
    std::set<std::int64_t> out;
    for (std::size_t i = 0; i < first_shown_.size(); ++i) {
      if (names(first_ + static_cast<std::int64_t>(i)))
        out.insert(first_shown_[i] == kNever ? change_.at : first_shown_[i]);
    }
    return {out.begin(), out.end()};
  }

  std::int64_t begin = 0, end = 0;

 private:
  LibcZone::Change change_;
  std::vector<std::pair<std::int64_t, std::int64_t>> minutes_;  // UTC in seconds, local time in minutes
  std::int64_t first_ = 0;
  std::vector<std::int64_t> first_shown_;  // by local minute
};

std::vector<std::int64_t> due(const Crontab& schedule, const TimeZone& zone, const Around& around) {
  std::vector<std::int64_t> out;
  for (const TimePoint one : due_between(schedule, point(around.begin) - 1us, point(around.end), zone)) {
    out.push_back(std::chrono::floor<seconds>(one).time_since_epoch().count());
    if (point(out.back()) != one) out.push_back(kNever);
  }
  return out;
}

// Asked at any moment, not only at a due one: also in the hour that is lived through again.
bool answers_at_any_moment(const Crontab& schedule, const TimeZone& zone, const Around& around,
                           const std::vector<std::int64_t>& due) {
  for (std::int64_t asked = around.begin; asked < around.end; asked += 660) {
    const auto next = std::upper_bound(due.begin(), due.end(), asked);
    if (next == due.end()) break;
    if (schedule.next(point(asked), zone) != point(*next)) return false;
  }
  return true;
}

bool rises(const std::vector<std::int64_t>& times) {
  return std::adjacent_find(times.begin(), times.end(), std::greater_equal<>()) == times.end();
}

bool all_apart(const std::vector<std::int64_t>& times, std::int64_t distance) {
  return std::adjacent_find(times.begin(), times.end(), [&](auto one, auto next) { return next - one != distance; }) ==
         times.end();
}

struct Tally {
  std::size_t changes = 0, gaps = 0, overlaps = 0, in_gaps = 0, in_overlaps = 0;
};

// Entries for one time of the day: before, in and after what is skipped or comes twice.
void check_daily(const TimeZone& zone, const LibcZone::Change& change, const Around& around, Tally& tally) {
  const bool gap = change.after > change.before;
  const std::int64_t low = (change.at + std::min(change.before, change.after) + 59) / 60;
  const std::int64_t high = (change.at + std::max(change.before, change.after) + 59) / 60;
  for (const std::int64_t local : {low - 1, low, low + 1, (low + high) / 2, high - 1, high}) {
    const std::int64_t minute_of_day = (local % 1440 + 1440) % 1440;
    const Crontab schedule =
        Crontab::parse(std::to_string(minute_of_day % 60) + " " + std::to_string(minute_of_day / 60) + " * * *");
    const auto is = due(schedule, zone, around);
    const auto named = [&](std::int64_t one) { return (one % 1440 + 1440) % 1440 == minute_of_day; };
    if (is != around.once(named) || !rises(is)) FAIL_CHECK(zone.name(), " ", schedule.text(), " around ", change.at);
    if (!answers_at_any_moment(schedule, zone, around, is)) {
      FAIL_CHECK(zone.name(), " ", schedule.text(), " asked around ", change.at);
    }
    // The same without the oracle's arithmetic, for changes of less than a day.
    if (local < low || local >= high || high - low >= 1440) continue;
    const auto in_the_hour = std::count_if(is.begin(), is.end(), [&](std::int64_t one) {
      return one >= change.at - std::abs(change.after - change.before) &&
             one <= change.at + (gap ? 0 : change.before - change.after);
    });
    if (in_the_hour != 1)
      FAIL_CHECK(zone.name(), " ", schedule.text(), " runs ", in_the_hour, " times around ", change.at);
    if (gap && std::count(is.begin(), is.end(), change.at) != 1)
      FAIL_CHECK(zone.name(), " not at the end of its gap ", change.at);
    ++(gap ? tally.in_gaps : tally.in_overlaps);
  }
}

void check_every_hour(const TimeZone& zone, const LibcZone::Change& change, const Around& around) {
  static const Crontab each_minute = Crontab::parse("* * * * *"), quarters = Crontab::parse("*/15 * * * *"),
                       half_past = Crontab::parse("30 0-23 * * *");
  const std::int64_t shift = change.after - change.before;
  const auto each = due(each_minute, zone, around), quarter = due(quarters, zone, around),
             half = due(half_past, zone, around);
  if (each != around.each_time([](std::int64_t) { return true; }) || !rises(each)) {
    FAIL_CHECK(zone.name(), " every minute around ", change.at);
  }
  if (quarter != around.each_time([](std::int64_t local) { return local % 15 == 0; }) || !rises(quarter)) {
    FAIL_CHECK(zone.name(), " every quarter around ", change.at);
  }
  if (half != around.each_time([](std::int64_t local) { return (local % 60 + 60) % 60 == 30; }) || !rises(half)) {
    FAIL_CHECK(zone.name(), " every half past around ", change.at);
  }
  if (!answers_at_any_moment(half_past, zone, around, half)) FAIL_CHECK(zone.name(), " asked around ", change.at);
  // The cadence in real time, wherever the clocks are changed by a multiple of it.
  if (shift % 60 == 0 && !all_apart(each, 60)) FAIL_CHECK(zone.name(), " minutes ", change.at);
  if (shift % 900 == 0 && !all_apart(quarter, 900)) FAIL_CHECK(zone.name(), " quarters ", change.at);
  if (shift % kHour == 0 && !all_apart(half, kHour)) FAIL_CHECK(zone.name(), " hours ", change.at);
}

void check_ranges(const TimeZone& zone, const LibcZone::Change& change, const Around& around) {
  static const Crontab often = Crontab::parse("*/20 0-22 * * *"), seldom = Crontab::parse("7 */2 * * *");
  const auto minute = [](std::int64_t local) { return (local % 60 + 60) % 60; };
  const auto hour = [](std::int64_t local) { return (local % 1440 + 1440) % 1440 / 60; };
  const auto is = due(often, zone, around);
  if (is != around.once([&](std::int64_t local) { return minute(local) % 20 == 0 && hour(local) < 23; }) ||
      !answers_at_any_moment(often, zone, around, is)) {
    FAIL_CHECK(zone.name(), " a range of hours around ", change.at);
  }
  if (due(seldom, zone, around) !=
      around.once([&](std::int64_t local) { return minute(local) == 7 && hour(local) % 2 == 0; })) {
    FAIL_CHECK(zone.name(), " every second hour around ", change.at);
  }
}

}  // namespace

TEST_CASE("F103_around every change of every clock from 1970 to 2100 entries run as the rule says") {
  Tally tally;
  // What London's clocks do, Guernsey's do; the same change is walked through by the C library once.
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, Around> walked;
  const auto names = distinct_zones();
  REQUIRE(names.size() > 250);
  for (const std::string& name : names) {
    const TimeZone zone = TimeZone::open(name);
    const LibcZone libc(name);
    const auto changes = libc.changes(kFrom, kTo);
    // The zone has exactly these changes and no other.
    TimePoint next = zone.period_at(point(kFrom)).end;
    for (const LibcZone::Change& change : changes) {
      if (next != point(change.at)) {
        FAIL_CHECK(name, " changes at ", core::format_iso8601(next), ", the C library has ", change.at);
        break;
      }
      if (zone.offset_at(next - 1s) != seconds{change.before} || zone.offset_at(next) != seconds{change.after}) {
        FAIL_CHECK(name, " has other offsets at ", change.at);
      }
      next = zone.period_at(next).end;
    }
    for (std::size_t i = 0; i < changes.size(); ++i) {
      const LibcZone::Change& change = changes[i];
      const auto key = std::tuple{change.at, change.before, change.after};
      auto known = walked.find(key);
      if (known == walked.end()) known = walked.try_emplace(key, libc, change).first;
      const Around& around = known->second;
      // Nothing else happens meanwhile, or what was walked would not hold for another zone.
      REQUIRE((i == 0 || changes[i - 1].at < around.begin));
      REQUIRE((i + 1 == changes.size() || changes[i + 1].at > around.end));
      ++tally.changes;
      ++(change.after > change.before ? tally.gaps : tally.overlaps);
      check_daily(zone, change, around, tally);
      check_every_hour(zone, change, around);
      check_ranges(zone, change, around);
    }
  }
  MESSAGE(names.size(), " zones, ", tally.changes, " changes (", walked.size(), " different ones): ", tally.gaps,
          " gaps, ", tally.overlaps, " overlaps; ", tally.in_gaps, " daily entries in gaps, ", tally.in_overlaps,
          " in overlaps");
  CHECK(tally.gaps > 5'000);
  CHECK(tally.overlaps > 5'000);
}

TEST_CASE("F103_a daily entry runs once for each date of 131 years, in the zones with the oddest clocks") {
  for (const char* name :
       {"Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Antarctica/Troll",
        "America/Nuuk", "Asia/Gaza", "Africa/Monrovia", "Europe/Dublin", "America/Caracas", "Asia/Tehran"}) {
    CAPTURE(name);
    const TimeZone zone = TimeZone::open(name);
    for (const char* schedule : {"30 1 * * *", "0 0 * * *", "45 2 * * *"}) {
      CAPTURE(schedule);
      const auto all = due_between(Crontab::parse(schedule), at("1970-01-02 12:00"), at("2101-01-01 12:00"), zone);
      CHECK(all.size() == static_cast<std::size_t>((at("2101-01-01 12:00") - at("1970-01-02 12:00")) / 24h));
      // Never a date twice, whatever its clocks did.
      const auto same_date = [&](TimePoint one, TimePoint other) {
        return std::chrono::floor<std::chrono::days>(zone.to_local(one)) >=
               std::chrono::floor<std::chrono::days>(zone.to_local(other));
      };
      CHECK(std::adjacent_find(all.begin(), all.end(), same_date) == all.end());
    }
  }
}
