#include "beat/zone_files.hpp"

#include <errand/time_zone.hpp>

#include <algorithm>

namespace errand {
namespace {

using beat::Transition;
using beat::ZoneRules;
using std::chrono::seconds;

// Times beyond are moved here, so that adding an offset never wraps.
constexpr TimePoint kEarliest = TimePoint::min() + 2 * beat::kFarthestOffset;
constexpr TimePoint kLatest = TimePoint::max() - 2 * beat::kFarthestOffset;

std::shared_ptr<const ZoneRules> utc_rules() {
  static const auto rules = [] {
    ZoneRules utc;
    utc.name = "UTC";
    return std::make_shared<const ZoneRules>(std::move(utc));
  }();
  return rules;
}

// How many transitions have been by then; also the number of the period that it is in.
std::size_t period_number(const ZoneRules& rules, TimePoint at) {
  const auto after = std::upper_bound(rules.transitions.begin(), rules.transitions.end(), at,
                                      [](TimePoint time, const Transition& one) { return time < one.at; });
  return static_cast<std::size_t>(after - rules.transitions.begin());
}

seconds offset_of(const ZoneRules& rules, std::size_t period) {
  return period == 0 ? rules.first_offset : rules.transitions[period - 1].offset;
}

LocalTime shown(TimePoint at, seconds offset) {
  return LocalTime{std::clamp(at, kEarliest, kLatest).time_since_epoch() + offset};
}

}  // namespace

TimeZone::TimeZone() : rules_(utc_rules()) {}
TimeZone::TimeZone(std::shared_ptr<const ZoneRules> rules) : rules_(std::move(rules)) {}

TimeZone TimeZone::open(std::string_view name, const std::string& directory) {
  if (name == "UTC" || name == "Etc/UTC") return {};
  return TimeZone(std::make_shared<const ZoneRules>(beat::read_zone(name, beat::zone_directory(directory))));
}

const std::string& TimeZone::name() const noexcept { return rules_->name; }

seconds TimeZone::offset_at(TimePoint at) const noexcept { return offset_of(*rules_, period_number(*rules_, at)); }

LocalTime TimeZone::to_local(TimePoint at) const noexcept { return shown(at, offset_at(at)); }

LocalTime TimeZone::latest_shown(TimePoint at) const noexcept {
  std::size_t period = period_number(*rules_, at);
  LocalTime latest = shown(at, offset_of(*rules_, period));
  // What ended longer ago than two offsets can differ was overtaken since.
  for (; period > 0 && rules_->transitions[period - 1].at + 2 * beat::kFarthestOffset >= at; --period) {
    const TimePoint end = rules_->transitions[period - 1].at;
    latest = std::max(latest, shown(end - Microseconds{1}, offset_of(*rules_, period - 1)));
  }
  return latest;
}

TimePoint TimeZone::first_reached(LocalTime local) const noexcept {
  const TimePoint as_utc = std::clamp(TimePoint{local.time_since_epoch()}, kEarliest, kLatest);
  // Periods that ended before this have shown nothing as late as `local`.
  std::size_t period = period_number(*rules_, as_utc - beat::kFarthestOffset);
  const auto& transitions = rules_->transitions;
  while (period < transitions.size() && transitions[period].at + offset_of(*rules_, period) <= as_utc) ++period;
  const TimePoint inside = as_utc - offset_of(*rules_, period);
  return period == 0 ? inside : std::max<TimePoint>(inside, transitions[period - 1].at);
}

TimeZone::Period TimeZone::period_at(TimePoint at) const noexcept {
  const std::size_t number = period_number(*rules_, at);
  const auto& transitions = rules_->transitions;
  return {.begin = number == 0 ? TimePoint::min() : TimePoint{transitions[number - 1].at},
          .end = number == transitions.size() ? TimePoint::max() : TimePoint{transitions[number].at},
          .offset = offset_of(*rules_, number)};
}

}  // namespace errand
