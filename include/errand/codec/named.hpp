#pragma once
// Codec of a user's own types: enums by the names of their values, structs by the names of their fields, and the two
// macros that give these names.

#include <errand/codec/base.hpp>

#include <array>
#include <tuple>

namespace errand {

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
