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

#include <errand/codec/base.hpp>
#include <errand/codec/containers.hpp>
#include <errand/codec/named.hpp>
#include <errand/codec/scalars.hpp>
#include <errand/error.hpp>

#include <concepts>
#include <string_view>

namespace errand {

/// A type that can stand in a message.
template <class T>
concept Encodable = requires(const T& value, const Value& from) {
  { Codec<T>::encode(value) } -> std::same_as<Value>;
  { Codec<T>::decode(from, std::string_view{}) } -> std::same_as<T>;
  { Codec<T>::schema() } -> std::same_as<Value>;
};

}  // namespace errand
