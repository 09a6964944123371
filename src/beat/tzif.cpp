#include "beat/tzif.hpp"

#include "beat/yearly_rule.hpp"

#include <errand/time_zone.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace errand::beat {
namespace {

constexpr std::size_t kHeaderSize = 44;
constexpr std::size_t kTypeSize = 6;
// 34 000 years: far beyond what anybody asks for, and its microseconds can still be counted.
constexpr std::int64_t kEdge = std::int64_t{1} << 40;

std::int64_t big_endian(std::string_view bytes) {
  // The first byte carries the sign.
  auto value = static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<signed char>(bytes[0])));
  for (const char byte : bytes.substr(1)) value = value << 8 | static_cast<unsigned char>(byte);
  return static_cast<std::int64_t>(value);
}

// One of the two blocks of a file: a header, and what it counts. `time_size` is 4 in the first one and 8 in the second.
struct Block {
  std::size_t leaps = 0;
  std::size_t times = 0;
  std::size_t types = 0;
  std::string_view time_bytes, type_indexes, type_bytes;
  std::string_view rest;
};

std::optional<Block> read_block(std::string_view bytes, std::size_t time_size) {
  if (bytes.size() < kHeaderSize) return std::nullopt;
  const auto count = [&](std::size_t which) {
    return static_cast<std::size_t>(static_cast<std::uint32_t>(big_endian(bytes.substr(20 + 4 * which, 4))));
  };
  const std::size_t ut_marks = count(0), standard_marks = count(1), letters = count(5);
  Block out{.leaps = count(2), .times = count(3), .types = count(4)};
  bytes.remove_prefix(kHeaderSize);
  // Each count is below the size of a file, so that no product can wrap.
  for (const std::size_t one : {ut_marks, standard_marks, letters, out.leaps, out.times, out.types}) {
    if (one > kLongestZoneFile) return std::nullopt;
  }
  const auto take = [&](std::size_t size) {
    const std::string_view front = bytes.substr(0, size);
    bytes.remove_prefix(front.size());
    return front;
  };
  const std::size_t tail = letters + out.leaps * (time_size + 4) + standard_marks + ut_marks;
  if (bytes.size() < out.times * (time_size + 1) + out.types * kTypeSize + tail || out.types == 0) return std::nullopt;
  out.time_bytes = take(out.times * time_size);
  out.type_indexes = take(out.times);
  out.type_bytes = take(out.types * kTypeSize);
  take(tail);
  out.rest = bytes;
  return out;
}

// The offsets that a block's transitions point to, or nullopt when one cannot be.
std::optional<std::vector<seconds>> read_offsets(const Block& block) {
  std::vector<seconds> out;
  out.reserve(block.types);
  for (std::size_t i = 0; i < block.types; ++i) {
    out.emplace_back(big_endian(block.type_bytes.substr(i * kTypeSize, 4)));
    if (out.back() > kFarthestOffset || out.back() < -kFarthestOffset) return std::nullopt;
  }
  return out;
}

// In order of time. At one instant the later call counts; what changes nothing is not kept.
void add(ZoneRules& rules, Transition next) {
  if (next.at < TimeZone::kFirst) {
    rules.first_offset = next.offset;
    return;
  }
  if (!rules.transitions.empty() && rules.transitions.back().at == next.at) rules.transitions.pop_back();
  const seconds before = rules.transitions.empty() ? rules.first_offset : rules.transitions.back().offset;
  if (before != next.offset) rules.transitions.push_back(next);
}

bool add_written_out(const Block& block, std::size_t time_size, ZoneRules& rules, std::optional<sys_seconds>& last) {
  const auto offsets = read_offsets(block);
  if (!offsets) return false;
  // RFC 9636: type 0 holds before the first transition.
  rules.first_offset = offsets->front();
  std::optional<std::int64_t> before;
  for (std::size_t i = 0; i < block.times; ++i) {
    const std::int64_t time = big_endian(block.time_bytes.substr(i * time_size, time_size));
    const auto type = static_cast<unsigned char>(block.type_indexes[i]);
    if (type >= offsets->size() || (before && time <= *before)) return false;
    before = time;
    // Some files begin with the Big Bang.
    last = sys_seconds{seconds{std::clamp(time, -kEdge, kEdge)}};
    if (*last < TimeZone::kEnd) add(rules, {*last, (*offsets)[type]});
  }
  return true;
}

void add_by_rule(const YearlyRule& rule, ZoneRules& rules, std::optional<sys_seconds> last) {
  if (!rule.daylight) {
    // The last offset written out is the standard one already; a file without any has it from the rule.
    if (!last) rules.first_offset = rule.standard;
    return;
  }
  const sys_seconds start = last.value_or(sys_seconds{seconds{-kEdge}});
  if (start >= TimeZone::kEnd) return;
  // From two years before the first that counts: the last change before it is its offset at New Year, and a time of up
  // to a week may lie across New Year.
  const auto first_year =
      std::chrono::year_month_day{std::chrono::floor<std::chrono::days>(std::max<TimePoint>(start, TimeZone::kFirst))}
          .year();
  const auto last_year = std::chrono::year_month_day{std::chrono::floor<std::chrono::days>(TimeZone::kEnd)}.year();
  std::vector<Transition> changes;
  for (auto year = first_year - std::chrono::years{2}; year <= last_year; ++year) {
    for (const Transition& change : rule.changes(year)) changes.push_back(change);
  }
  // Summer time for the whole year is written as an end that is the next beginning: of two at one instant, that which
  // begins summer time counts.
  std::sort(changes.begin(), changes.end(), [&](const Transition& one, const Transition& other) {
    if (one.at != other.at) return one.at < other.at;
    return one.offset == rule.standard && other.offset != rule.standard;
  });
  for (const Transition& change : changes) {
    if (change.at > start && change.at < TimeZone::kEnd) add(rules, change);
  }
}

}  // namespace

TzifVerdict read_tzif(std::string_view bytes, ZoneRules& out) {
  if (bytes.substr(0, 4) != "TZif") return TzifVerdict::not_tzif;
  if (bytes.size() < kHeaderSize || bytes.size() > kLongestZoneFile) return TzifVerdict::damaged;
  // Version 1 has times of 32 bits and nothing else; later ones repeat everything with 64 bits and add the rule.
  const bool first_version = bytes[4] == '\0';
  std::size_t time_size = 4;
  auto block = read_block(bytes, time_size);
  if (block && !first_version) {
    time_size = 8;
    if (block->rest.substr(0, 4) != "TZif") return TzifVerdict::damaged;
    block = read_block(block->rest, time_size);
  }
  if (!block) return TzifVerdict::damaged;
  if (block->leaps != 0) return TzifVerdict::leap_seconds;
  ZoneRules rules;
  rules.name = out.name;
  std::optional<sys_seconds> last;
  if (!add_written_out(*block, time_size, rules, last)) return TzifVerdict::damaged;
  if (!first_version) {
    std::string_view line = block->rest;
    if (line.size() < 2 || line.front() != '\n' || line.back() != '\n') return TzifVerdict::damaged;
    line = line.substr(1, line.size() - 2);
    // An empty line: nobody knows, and the last offset goes on.
    if (!line.empty()) {
      const auto rule = parse_yearly_rule(line);
      if (!rule) return TzifVerdict::damaged;
      add_by_rule(*rule, rules, last);
    }
  }
  out = std::move(rules);
  return TzifVerdict::good;
}

}  // namespace errand::beat
