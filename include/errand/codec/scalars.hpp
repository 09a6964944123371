#pragma once
// Codec of single values: Value, bool, numbers, text, Bytes, optional, durations, time points, Secret.

#include <errand/codec/base.hpp>

#include <chrono>
#include <cmath>
#include <concepts>
#include <limits>

namespace errand {

template <>
struct Codec<Value> {
  static Value encode(const Value& value) { return value; }
  static Value decode(const Value& value, std::string_view) { return value; }
  static Value schema() { return Value(Object{}); }
  static std::string words() { return "any value"; }
};

template <>
struct Codec<bool> {
  static Value encode(bool value) { return Value(value); }
  static bool decode(const Value& value, std::string_view where) {
    if (const bool* b = value.if_bool()) return *b;
    codec::wrong_type(where, words(), value);
  }
  static Value schema() { return Value::object({{"type", "boolean"}}); }
  static std::string words() { return "bool"; }
};

template <class T>
  requires(std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>)
struct Codec<T> {
  static Value encode(T value) {
    if constexpr (std::is_signed_v<T>)
      return Value(static_cast<long long>(value));
    else
      return Value(static_cast<unsigned long long>(value));
  }
  static T decode(const Value& value, std::string_view where) {
    const auto inside = [&](auto wide) {
      if (!std::in_range<T>(wide)) {
        codec::wrong_value(where, "expected " + words() + " from " + std::to_string(std::numeric_limits<T>::min()) +
                                      " to " + std::to_string(std::numeric_limits<T>::max()) + ", got " +
                                      std::to_string(wide));
      }
      return static_cast<T>(wide);
    };
    if constexpr (std::is_signed_v<T>)
      return inside(codec::to_int64(value, where));
    else
      return inside(codec::to_uint64(value, where));
  }
  static Value schema() {
    Object schema{{"type", "integer"}};
    schema.set("minimum", encode(std::numeric_limits<T>::min()));
    schema.set("maximum", encode(std::numeric_limits<T>::max()));
    return Value(std::move(schema));
  }
  static std::string words() { return "integer"; }
};

template <std::floating_point T>
struct Codec<T> {
  static Value encode(T value) { return Value(static_cast<double>(value)); }
  static T decode(const Value& value, std::string_view where) {
    const double wide = codec::to_double(value, where);
    if constexpr (sizeof(T) < sizeof(double)) {
      if (std::isfinite(wide) && std::fabs(wide) > static_cast<double>(std::numeric_limits<T>::max())) {
        codec::wrong_value(
            where, "expected a float within its " + std::to_string(sizeof(T) * 8) + " bits, got " + to_json(value));
      }
    }
    return static_cast<T>(wide);
  }
  static Value schema() { return Value::object({{"type", "number"}}); }
  static std::string words() { return "float"; }
};

template <>
struct Codec<std::string> {
  static Value encode(const std::string& value) { return Value(value); }
  static std::string decode(const Value& value, std::string_view where) { return codec::to_text(value, where); }
  static Value schema() { return Value::object({{"type", "string"}}); }
  static std::string words() { return "text"; }
};

template <>
struct Codec<Bytes> {
  static Value encode(const Bytes& value) { return Value(value); }
  static Bytes decode(const Value& value, std::string_view where) {
    if (value.is_bytes()) return value.as_bytes();
    codec::wrong_type(where, words(), value);
  }
  static Value schema() { return Value::object({{"type", "string"}, {"contentEncoding", "base64"}}); }
  static std::string words() { return "bytes"; }
};

template <class T>
struct Codec<std::optional<T>> {
  static Value encode(const std::optional<T>& value) { return value ? Codec<T>::encode(*value) : Value(); }
  static std::optional<T> decode(const Value& value, std::string_view where) {
    if (value.is_null()) return std::nullopt;
    return Codec<T>::decode(value, where);
  }
  static Value schema() {
    return Value::object({{"anyOf", Value::array({Codec<T>::schema(), Value::object({{"type", "null"}})})}});
  }
  static std::string words() { return Codec<T>::words() + " or null"; }
};

/// Seconds, as Python's timedelta.total_seconds() gives them.
template <class Rep, class Period>
struct Codec<std::chrono::duration<Rep, Period>> {
  using Duration = std::chrono::duration<Rep, Period>;
  static Value encode(Duration value) { return Value(std::chrono::duration<double>(value).count()); }
  static Duration decode(const Value& value, std::string_view where) {
    const double seconds = codec::to_double(value, where);
    constexpr double kMost = 9.2e9;  // 292 years: what nanoseconds in 64 bits can hold
    if (!(seconds >= -kMost && seconds <= kMost)) codec::wrong_value(where, "expected seconds within 292 years");
    // 1.001 seconds are 1000.9999... milliseconds as a double: an integral count takes the nearest.
    if constexpr (std::is_integral_v<Rep>) {
      const double count =
          std::nearbyint(seconds * static_cast<double>(Period::den) / static_cast<double>(Period::num));
      if (std::fabs(count) > static_cast<double>(std::numeric_limits<Rep>::max()) / 2) {
        codec::wrong_value(where, "expected seconds that fit the parameter's type, got " + to_json(value));
      }
      return Duration(static_cast<Rep>(count));
    } else {
      return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    }
  }
  static Value schema() { return Value::object({{"type", "number"}, {"description", "seconds"}}); }
  static std::string words() { return "seconds"; }
};

template <class D>
struct Codec<std::chrono::sys_time<D>> {
  static Value encode(std::chrono::sys_time<D> value) {
    return Value(codec::time_text(std::chrono::time_point_cast<Microseconds>(value)));
  }
  static std::chrono::sys_time<D> decode(const Value& value, std::string_view where) {
    const TimePoint point = codec::to_time_point(value, where);
    constexpr auto kMost = std::chrono::duration_cast<std::chrono::duration<double>>(D::max());
    if (std::chrono::abs(std::chrono::duration<double>(point.time_since_epoch())) > kMost) {
      codec::wrong_value(where, "expected a time that fits the parameter's type, got " + to_json(value));
    }
    return std::chrono::floor<D>(point);
  }
  static Value schema() {
    return Value::object({{"type", Value::array({"string", "number"})}, {"format", "date-time"}});
  }
  static std::string words() { return "time (ISO 8601)"; }
};

template <class T>
struct Codec<Secret<T>> {
  static Value encode(const Secret<T>& value) { return Codec<T>::encode(value.reveal()); }
  static Secret<T> decode(const Value& value, std::string_view where) {
    return Secret<T>(Codec<T>::decode(value, where));
  }
  static Value schema() {
    Value schema = Codec<T>::schema();
    schema.as_object().set("writeOnly", true);
    return schema;
  }
  static std::string words() { return Codec<T>::words(); }
};

}  // namespace errand
