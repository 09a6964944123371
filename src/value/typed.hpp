#pragma once
// Kombu's typed values: objects with exactly the keys __type__ and __value__ (kombu/utils/json.py, kombu >= 5.3).

#include <errand/value.hpp>

namespace errand::typed {

/// Exactly the two keys.
bool is_reserved(const Object& object) noexcept;
/// Reserved, with one of kombu's own type names: datetime, date, time, decimal, uuid, bytes, base64.
bool is_known(const Object& object) noexcept;

/// The type name and the value, when `value` is a typed value.
struct View {
  std::string_view type;
  const Value* value = nullptr;
};
std::optional<View> view(const Value& value) noexcept;

}  // namespace errand::typed
