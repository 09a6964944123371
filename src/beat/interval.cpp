#include "core/text.hpp"

#include <errand/error.hpp>
#include <errand/schedule.hpp>

#include <algorithm>

namespace errand {
namespace {

constexpr Milliseconds kLongest = std::chrono::days{36'525};
constexpr TimePoint kFirstAnchor{std::chrono::sys_days{std::chrono::year{1} / 1 / 1}};
constexpr TimePoint kLastAnchor{std::chrono::sys_days{std::chrono::year{10'000} / 1 / 1} - Microseconds{1}};

}  // namespace

Interval::Interval(Milliseconds every, TimePoint anchor) : every_(every), anchor_(anchor) {
  const auto refuse = [](std::string detail, std::string subject) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "interval",
                 .subject = std::move(subject),
                 .detail = std::move(detail)});
  };
  if (every < Milliseconds{1} || every > kLongest) {
    refuse("expected 1 ms to 36525 days, got " + std::to_string(every.count()) +
               " ms; use a crontab for what is due rarely",
           "every");
  }
  if (anchor < kFirstAnchor || anchor > kLastAnchor) {
    refuse("expected a time within the years 1 to 9999; count from the start of the program", "anchor");
  }
}

std::optional<TimePoint> Interval::next(TimePoint after) const noexcept {
  if (after >= TimeZone::kEnd) return std::nullopt;
  TimePoint due = anchor_;
  if (after >= anchor_) {
    const Microseconds every = every_;
    due = anchor_ + ((after - anchor_) / every + 1) * every;
  }
  return due < TimeZone::kEnd ? std::optional(due) : std::nullopt;
}

}  // namespace errand
