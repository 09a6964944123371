#pragma once
// What every Codec<T> stands on: its declaration, the words of its errors, and Secret with the question who holds one.

#include <errand/time.hpp>
#include <errand/value.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace errand {

/// A value that is shown nowhere but in the work message: masked in argsrepr, logs, results and pages (CP-29).
template <class T>
class Secret {
 public:
  Secret() = default;
  Secret(T value) : value_(std::move(value)) {}
  const T& reveal() const noexcept { return value_; }

 private:
  T value_{};
};

/// Specialise for a type of your own when the macros do not fit. Every member is needed.
template <class T>
struct Codec;

namespace codec {

/// Throws Error{invalid}: "width: expected integer, got text".
[[noreturn]] void wrong_type(std::string_view where, std::string_view expected, const Value& got);
[[noreturn]] void wrong_value(std::string_view where, std::string detail);

/// "items[3]" and "point.x".
std::string at_index(std::string_view where, std::size_t index);
std::string at_field(std::string_view where, std::string_view field);

/// Any integer kind as int64; throws beyond it. A float with no fraction is not an integer: 1.0 is refused.
std::int64_t to_int64(const Value& value, std::string_view where);
std::uint64_t to_uint64(const Value& value, std::string_view where);
double to_double(const Value& value, std::string_view where);
/// The ISO texts Celery writes, kombu's typed datetime and date, or a number of Unix seconds.
TimePoint to_time_point(const Value& value, std::string_view where);
std::string time_text(TimePoint point);
/// Text, and kombu's typed decimal, uuid, time: their text.
std::string to_text(const Value& value, std::string_view where);

template <class T>
inline constexpr bool is_secret = false;
template <class T>
inline constexpr bool is_secret<Secret<T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// Whether a Secret stands anywhere inside the type: the whole argument is then masked.
template <class T>
struct HoldsSecret : std::false_type {};
template <class T>
struct HoldsSecret<Secret<T>> : std::true_type {};
template <class T>
inline constexpr bool holds_secret = HoldsSecret<std::remove_cvref_t<T>>::value;
template <class T>
  requires(holds_secret<T>)
struct HoldsSecret<std::optional<T>> : std::true_type {};

}  // namespace codec

}  // namespace errand
