#pragma once
// Codec<T>: how a C++ type stands in a message: to and from Value, its JSON Schema, and the words of its errors.
//
//   struct Point { int x; int y; };
//   ERRAND_STRUCT(Point, x, y)                       // a user struct with named fields
//   enum class Size { small, large };
//   ERRAND_ENUM(Size, small, large)                  // an enum by its names
//
// Known: integers (range checked), floats, bool, text, Bytes, optional, vector, list, array, set, map with text keys,
// pair and tuple, enums, durations (seconds), time points (ISO 8601), user structs, Secret<T>, and Value for anything.

#include <errand/error.hpp>
#include <errand/time.hpp>
#include <errand/value.hpp>

#include <array>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

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
template <class T>
  requires(holds_secret<T>)
struct HoldsSecret<std::vector<T>> : std::true_type {};
template <class T>
  requires(holds_secret<T>)
struct HoldsSecret<std::list<T>> : std::true_type {};
template <class T, std::size_t N>
  requires(holds_secret<T>)
struct HoldsSecret<std::array<T, N>> : std::true_type {};
template <class K, class T>
  requires(holds_secret<T>)
struct HoldsSecret<std::map<K, T>> : std::true_type {};
template <class K, class T>
  requires(holds_secret<T>)
struct HoldsSecret<std::unordered_map<K, T>> : std::true_type {};
template <class A, class B>
  requires(holds_secret<A> || holds_secret<B>)
struct HoldsSecret<std::pair<A, B>> : std::true_type {};
template <class... T>
  requires((holds_secret<T> || ...))
struct HoldsSecret<std::tuple<T...>> : std::true_type {};

}  // namespace codec

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

namespace codec {
/// Arrays of one element type: vector, array, set.
template <class C, class T>
struct List {
  static Value encode(const C& items) {
    Array array;
    array.reserve(items.size());
    for (const auto& item : items) array.push_back(Codec<T>::encode(item));
    return Value(std::move(array));
  }
  static const Array& checked(const Value& value, std::string_view where) {
    if (const Array* array = value.if_array()) return *array;
    wrong_type(where, words(), value);
  }
  static Value schema() { return Value::object({{"type", "array"}, {"items", Codec<T>::schema()}}); }
  static std::string words() { return "list of " + Codec<T>::words(); }
};
}  // namespace codec

template <class T>
struct Codec<std::vector<T>> : codec::List<std::vector<T>, T> {
  static std::vector<T> decode(const Value& value, std::string_view where) {
    std::vector<T> items;
    const Array& array = codec::List<std::vector<T>, T>::checked(value, where);
    items.reserve(array.size());
    for (std::size_t i = 0; i < array.size(); ++i)
      items.push_back(Codec<T>::decode(array[i], codec::at_index(where, i)));
    return items;
  }
};

template <class T>
struct Codec<std::list<T>> : codec::List<std::list<T>, T> {
  static std::list<T> decode(const Value& value, std::string_view where) {
    std::list<T> items;
    const Array& array = codec::List<std::list<T>, T>::checked(value, where);
    for (std::size_t i = 0; i < array.size(); ++i)
      items.push_back(Codec<T>::decode(array[i], codec::at_index(where, i)));
    return items;
  }
};

namespace codec {
/// JSON has no sets: a list, whose doubled items count once.
template <class C, class T>
struct SetOf : List<C, T> {
  static C decode(const Value& value, std::string_view where) {
    C items;
    const Array& array = List<C, T>::checked(value, where);
    for (std::size_t i = 0; i < array.size(); ++i) items.insert(Codec<T>::decode(array[i], at_index(where, i)));
    return items;
  }
};
}  // namespace codec

template <class T>
struct Codec<std::set<T>> : codec::SetOf<std::set<T>, T> {};
template <class T>
struct Codec<std::unordered_set<T>> : codec::SetOf<std::unordered_set<T>, T> {};

template <class T, std::size_t N>
struct Codec<std::array<T, N>> : codec::List<std::array<T, N>, T> {
  static std::array<T, N> decode(const Value& value, std::string_view where) {
    const Array& array = codec::List<std::array<T, N>, T>::checked(value, where);
    if (array.size() != N) {
      codec::wrong_value(where, "expected " + std::to_string(N) + " items, got " + std::to_string(array.size()));
    }
    std::array<T, N> items{};
    for (std::size_t i = 0; i < N; ++i) items[i] = Codec<T>::decode(array[i], codec::at_index(where, i));
    return items;
  }
  static Value schema() {
    Value schema = codec::List<std::array<T, N>, T>::schema();
    schema.as_object().set("minItems", Value(N));
    schema.as_object().set("maxItems", Value(N));
    return schema;
  }
};

namespace codec {
template <class M, class T>
struct Dictionary {
  static Value encode(const M& members) {
    Object object;
    for (const auto& [key, member] : members) object.set(key, Codec<T>::encode(member));
    return Value(std::move(object));
  }
  static M decode(const Value& value, std::string_view where) {
    const Object* object = value.if_object();
    if (object == nullptr) wrong_type(where, words(), value);
    M members;
    for (const auto& [key, member] : *object) members.emplace(key, Codec<T>::decode(member, at_field(where, key)));
    return members;
  }
  static Value schema() { return Value::object({{"type", "object"}, {"additionalProperties", Codec<T>::schema()}}); }
  static std::string words() { return "map of " + Codec<T>::words(); }
};
}  // namespace codec

template <class T>
struct Codec<std::map<std::string, T>> : codec::Dictionary<std::map<std::string, T>, T> {};
template <class T>
struct Codec<std::unordered_map<std::string, T>> : codec::Dictionary<std::unordered_map<std::string, T>, T> {};

template <class... T>
struct Codec<std::tuple<T...>> {
  static Value encode(const std::tuple<T...>& items) {
    return std::apply([](const T&... item) { return Value(Array{Codec<T>::encode(item)...}); }, items);
  }
  static std::tuple<T...> decode(const Value& value, std::string_view where) {
    const Array* array = value.if_array();
    if (array == nullptr) codec::wrong_type(where, words(), value);
    if (array->size() != sizeof...(T)) {
      codec::wrong_value(where,
                         "expected " + std::to_string(sizeof...(T)) + " items, got " + std::to_string(array->size()));
    }
    return decode_each(*array, where, std::index_sequence_for<T...>());
  }
  static Value schema() {
    return Value::object({{"type", "array"},
                          {"prefixItems", Value(Array{Codec<T>::schema()...})},
                          {"items", false},
                          {"minItems", static_cast<long long>(sizeof...(T))}});
  }
  static std::string words() {
    std::string text = "tuple of (";
    ((text += (text.back() == '(' ? "" : ", ") + Codec<T>::words()), ...);
    return text + ")";
  }

 private:
  template <std::size_t... I>
  static std::tuple<T...> decode_each([[maybe_unused]] const Array& array, [[maybe_unused]] std::string_view where,
                                      std::index_sequence<I...>) {
    return std::tuple<T...>{Codec<T>::decode(array[I], codec::at_index(where, I))...};
  }
};

template <class A, class B>
struct Codec<std::pair<A, B>> {
  static Value encode(const std::pair<A, B>& items) {
    return Codec<std::tuple<A, B>>::encode({items.first, items.second});
  }
  static std::pair<A, B> decode(const Value& value, std::string_view where) {
    auto [first, second] = Codec<std::tuple<A, B>>::decode(value, where);
    return {std::move(first), std::move(second)};
  }
  static Value schema() { return Codec<std::tuple<A, B>>::schema(); }
  static std::string words() { return Codec<std::tuple<A, B>>::words(); }
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
      if (std::fabs(count) > static_cast<double>(std::numeric_limits<Rep>::max() / 2)) {
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

/// The names of an enum's values; made by ERRAND_ENUM.
template <class E>
struct EnumNames;

template <class E>
  requires std::is_enum_v<E> && requires { EnumNames<E>::values; }
struct Codec<E> {
  static Value encode(E value) {
    for (const auto& [name, known] : EnumNames<E>::values) {
      if (known == value) return Value(name);
    }
    codec::wrong_value("", "expected one of " + words() + ", got a value without a name");
  }
  static E decode(const Value& value, std::string_view where) {
    const std::string* text = value.if_text();
    if (text == nullptr) codec::wrong_type(where, words(), value);
    for (const auto& [name, known] : EnumNames<E>::values) {
      if (name == *text) return known;
    }
    codec::wrong_value(where, "expected " + words() + ", got '" + *text + "'");
  }
  static Value schema() {
    Array names;
    for (const auto& entry : EnumNames<E>::values) names.emplace_back(entry.first);
    return Value::object({{"enum", Value(std::move(names))}});
  }
  static std::string words() {
    std::string text;
    for (const auto& entry : EnumNames<E>::values) text += (text.empty() ? "" : " | ") + std::string(entry.first);
    return text;
  }
};

/// One field of a user struct.
template <class S, class T>
struct Field {
  std::string_view name;
  T S::* member;
};

/// The fields of a struct; made by ERRAND_STRUCT. A field that is an optional may be left out, and so may every
/// field of a struct that says `static constexpr bool errand_defaults = true;`: it keeps its initial value. A field
/// that the struct does not have is refused by its name, for it is a mistake or from a newer sender; a struct that says
/// `static constexpr bool errand_ignores_unknown = true;` reads on without it.
template <class S>
struct StructFields;

namespace codec {
template <class Fields>
struct FieldsHoldSecret;
template <class S, class... T>
struct FieldsHoldSecret<const std::tuple<Field<S, T>...>> : std::bool_constant<(holds_secret<T> || ...)> {};
template <class S>
  requires requires { StructFields<S>::fields; }
struct HoldsSecret<S> : FieldsHoldSecret<decltype(StructFields<S>::fields)> {};
}  // namespace codec

template <class S>
  requires requires { StructFields<S>::fields; }
struct Codec<S> {
  static Value encode(const S& value) {
    Object object;
    each([&](const auto& field) {
      object.set(std::string(field.name),
                 Codec<std::remove_cvref_t<decltype(value.*(field.member))>>::encode(value.*(field.member)));
    });
    return Value(std::move(object));
  }
  static S decode(const Value& value, std::string_view where) {
    const Object* object = value.if_object();
    if (object == nullptr) codec::wrong_type(where, words(), value);
    S result{};
    std::size_t used = 0;
    each([&](const auto& field) {
      using T = std::remove_cvref_t<decltype(result.*(field.member))>;
      if (const Value* given = object->find(field.name)) {
        result.*(field.member) = Codec<T>::decode(*given, codec::at_field(where, field.name));
        used += 1;
      } else if constexpr (!optional<T>()) {
        codec::wrong_value(codec::at_field(where, field.name), "expected " + Codec<T>::words() + ", it is missing");
      }
    });
    if (!ignores_unknown() && used != object->size()) unknown_field(*object, where);
    return result;
  }
  static Value schema() {
    Object properties;
    Array required;
    each([&](const auto& field) {
      using T = std::remove_cvref_t<decltype(std::declval<S>().*(field.member))>;
      properties.set(std::string(field.name), Codec<T>::schema());
      if (!optional<T>()) required.emplace_back(field.name);
    });
    return Value::object({{"type", "object"},
                          {"properties", Value(std::move(properties))},
                          {"required", Value(std::move(required))},
                          {"additionalProperties", ignores_unknown()}});
  }
  static std::string words() { return "object"; }

 private:
  static constexpr bool ignores_unknown() {
    if constexpr (requires { S::errand_ignores_unknown; })
      return S::errand_ignores_unknown;
    else
      return false;
  }
  template <class T>
  static constexpr bool optional() {
    if constexpr (requires { S::errand_defaults; })
      return S::errand_defaults;
    else
      return codec::is_optional<T>;
  }
  template <class F>
  static void each(F&& f) {
    std::apply([&](const auto&... field) { (f(field), ...); }, StructFields<S>::fields);
  }
  static void unknown_field(const Object& object, std::string_view where) {
    for (const auto& [name, member] : object) {
      bool known = false;
      each([&](const auto& field) { known = known || field.name == name; });
      if (!known) codec::wrong_value(codec::at_field(where, name), "expected no such field");
    }
  }
};

/// A type that can stand in a message.
template <class T>
concept Encodable = requires(const T& value, const Value& from) {
  { Codec<T>::encode(value) } -> std::same_as<Value>;
  { Codec<T>::decode(from, std::string_view{}) } -> std::same_as<T>;
  { Codec<T>::schema() } -> std::same_as<Value>;
};

}  // namespace errand

// The macros apply a form to each name, up to 64 of them.
#define ERRAND_PARENS ()
#define ERRAND_EXPAND(...) ERRAND_EXPAND3(ERRAND_EXPAND3(ERRAND_EXPAND3(ERRAND_EXPAND3(__VA_ARGS__))))
#define ERRAND_EXPAND3(...) ERRAND_EXPAND2(ERRAND_EXPAND2(ERRAND_EXPAND2(ERRAND_EXPAND2(__VA_ARGS__))))
#define ERRAND_EXPAND2(...) ERRAND_EXPAND1(ERRAND_EXPAND1(ERRAND_EXPAND1(ERRAND_EXPAND1(__VA_ARGS__))))
#define ERRAND_EXPAND1(...) __VA_ARGS__
#define ERRAND_EACH(form, type, ...) __VA_OPT__(ERRAND_EXPAND(ERRAND_EACH_NEXT(form, type, __VA_ARGS__)))
#define ERRAND_EACH_NEXT(form, type, name, ...) \
  form(type, name) __VA_OPT__(, ERRAND_EACH_AGAIN ERRAND_PARENS(form, type, __VA_ARGS__))
#define ERRAND_EACH_AGAIN() ERRAND_EACH_NEXT
#define ERRAND_FIELD_OF(type, name) \
  ::errand::Field<type, decltype(type::name)> { #name, &type::name }
#define ERRAND_NAME_OF(type, name) \
  std::pair<std::string_view, type> { #name, type::name }

/// At global scope: makes a struct encodable by its named fields.
#define ERRAND_STRUCT(type, ...)                                                                     \
  template <>                                                                                        \
  struct errand::StructFields<type> {                                                                \
    static constexpr auto fields = std::make_tuple(ERRAND_EACH(ERRAND_FIELD_OF, type, __VA_ARGS__)); \
  };

/// At global scope: makes an enum encodable by the names of its values.
#define ERRAND_ENUM(type, ...)                                                          \
  template <>                                                                           \
  struct errand::EnumNames<type> {                                                      \
    static constexpr std::array values{ERRAND_EACH(ERRAND_NAME_OF, type, __VA_ARGS__)}; \
  };
