// Any bytes as a time zone's file: refused, or a list of rising changes within the years that we look at, each to an
// offset that is possible and another than before.

#include "beat/tzif.hpp"

#include <errand/time_zone.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace errand::beat;
  ZoneRules rules;
  if (read_tzif(std::string_view(reinterpret_cast<const char*>(data), size), rules) != TzifVerdict::good) return 0;
  const auto possible = [](seconds offset) { return offset <= kFarthestOffset && offset >= -kFarthestOffset; };
  if (!possible(rules.first_offset)) std::abort();
  sys_seconds last = std::chrono::floor<seconds>(errand::TimeZone::kFirst) - seconds{1};
  seconds offset = rules.first_offset;
  for (const Transition& one : rules.transitions) {
    if (one.at <= last || one.at >= errand::TimeZone::kEnd || one.offset == offset || !possible(one.offset))
      std::abort();
    last = one.at;
    offset = one.offset;
  }
  return 0;
}
