#pragma once
// HeaderFields: reads typed members of a header map and says exactly what is wrong with one (fault F119).

#include <errand/message.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::protocol {

/// The header or property as text; "": there is none, or it is of another type. For what is shown or compared, where a
/// wrong type is nobody's mistake to report.
std::string text_or_empty(const Object& fields, std::string_view name);

/// Longest time limit that is taken as it is; a longer one is cut to this (it is a hundred years).
inline constexpr Milliseconds kLongestLimit{std::int64_t{100} * 365 * 86'400 * 1000};

/// Does not own the map. A missing or null member reads as unset. Throws DecodeFailure{BAD_HEADER}.
class HeaderFields {
 public:
  explicit HeaderFields(const Object& headers) noexcept : headers_(headers) {}

  std::string text(std::string_view name) const;
  std::string required_text(std::string_view name) const;  ///< present, text, not empty
  std::optional<std::int64_t> integer(std::string_view name) const;
  std::uint32_t count(std::string_view name) const;  ///< 0 when unset
  std::optional<bool> flag(std::string_view name) const;
  std::optional<TimePoint> time(std::string_view name) const;  ///< ISO 8601; without offset it is UTC
  std::vector<std::string> texts(std::string_view name) const;
  Object object(std::string_view name) const;
  /// timelimit: [hard, soft] in seconds; zero and null are none.
  void limits(std::string_view name, std::optional<Milliseconds>& hard, std::optional<Milliseconds>& soft) const;

 private:
  const Value* find(std::string_view name) const noexcept;
  const Object& headers_;
};

/// Throws DecodeFailure{BAD_HEADER}: "retries: expected integer, got text 'x'".
[[noreturn]] void bad_header(std::string_view name, std::string_view expected, const Value& got);

/// A time as peers write it in headers; without an offset it is UTC. nullopt: not a time.
std::optional<TimePoint> read_time(std::string_view text);
/// As Errand writes it: 2026-11-22T05:43:54.166995+00:00.
std::string write_time(TimePoint time);

}  // namespace errand::protocol
