#pragma once
// Codec of what holds others: vector, list, array, sets, maps with text keys, pair and tuple.

#include <errand/codec/base.hpp>

#include <array>
#include <list>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace errand {

namespace codec {

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

}  // namespace errand
