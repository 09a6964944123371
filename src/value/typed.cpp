#include "value/typed.hpp"

#include "core/base64.hpp"
#include "core/utf8.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <array>

namespace errand {

namespace typed {

namespace {
constexpr std::array<std::string_view, 7> kNames{"datetime", "date", "time", "decimal", "uuid", "bytes", "base64"};
}

bool is_reserved(const Object& object) noexcept {
  return object.size() == 2 && object.contains("__type__") && object.contains("__value__");
}

std::optional<View> view(const Value& value) noexcept {
  const Object* object = value.if_object();
  if (object == nullptr || !is_reserved(*object)) return std::nullopt;
  const std::string* type = object->find("__type__")->if_text();
  if (type == nullptr) return std::nullopt;
  return View{*type, object->find("__value__")};
}

bool is_known(const Object& object) noexcept {
  if (!is_reserved(object)) return false;
  const std::string* type = object.find("__type__")->if_text();
  return type != nullptr && std::find(kNames.begin(), kNames.end(), *type) != kNames.end();
}

}  // namespace typed

void decode_typed(Value& root) {
  // A worklist instead of recursion: the depth is the sender's.
  std::vector<Value*> todo{&root};
  while (!todo.empty()) {
    Value& value = *todo.back();
    todo.pop_back();
    if (Array* items = value.if_array()) {
      for (Value& item : *items) todo.push_back(&item);
      continue;
    }
    Object* object = value.if_object();
    if (object == nullptr) continue;
    if (!typed::is_reserved(*object)) {
      for (const auto& member : *object) todo.push_back(object->find(member.first));
      continue;
    }
    if (!typed::is_known(*object)) {
      const std::string* type = object->find("__type__")->if_text();
      throw Error({.kind = ErrorKind::invalid,
                   .operation = "json.typed",
                   .detail = "expected one of kombu's types datetime, date, time, decimal, uuid, bytes, base64, got " +
                             (type == nullptr ? std::string("no text") : "'" + *type + "'")});
    }
    const std::string& type = object->find("__type__")->as_text();
    if (type != "bytes" && type != "base64") continue;
    const std::string* text = object->find("__value__")->if_text();
    std::optional<std::string> data;
    if (text != nullptr && type == "base64") data = core::base64_decode(*text);
    // A lone surrogate has no bytes in UTF-8; kombu's reader refuses it too.
    if (text != nullptr && type == "bytes" && utf8::is_valid(*text)) data = *text;
    if (!data) {
      throw Error({.kind = ErrorKind::invalid,
                   .operation = "json.typed",
                   .detail = "expected " +
                             std::string(type == "bytes" ? "text without lone surrogates" : "base64 text") +
                             " in a value of type " + type});
    }
    value = Value(Bytes{std::move(*data)});
  }
}

}  // namespace errand
