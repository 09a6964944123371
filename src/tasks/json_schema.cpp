#include "tasks/json_schema.hpp"

#include <errand/codec.hpp>

#include <algorithm>

namespace errand {

namespace {

constexpr std::size_t kMaxSchemaDepth = 64;  // of a catalogue from outside

bool has_type(const Value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "integer") return value.is_integer() || value.kind() == Value::Kind::big_integer;
  if (type == "number") return value.is_number() || has_type(value, "integer");
  if (type == "string") return value.is_text() || value.is_bytes();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  return true;
}

void check(const Value& value, const Value& schema, std::string_view where, std::size_t depth);

bool matches(const Value& value, const Value& schema, std::string_view where, std::size_t depth) {
  try {
    check(value, schema, where, depth);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void check_range(const Value& value, const Value& schema, std::string_view where) {
  if (!value.is_integer() && !value.is_number() && value.kind() != Value::Kind::big_integer) return;
  const Value* least = schema.find("minimum");
  const Value* most = schema.find("maximum");
  const bool too_small = least != nullptr && has_type(*least, "number") && value.as_number() < least->as_number();
  const bool too_large = most != nullptr && has_type(*most, "number") && value.as_number() > most->as_number();
  if (too_small || too_large) {
    codec::wrong_value(where, "expected " + (least == nullptr ? std::string("any") : to_json(*least)) + " to " +
                                  (most == nullptr ? std::string("any") : to_json(*most)) + ", got " + to_json(value));
  }
}

void check_array(const Array& items, const Value& schema, std::string_view where, std::size_t depth) {
  const Value* prefix = schema.find("prefixItems");
  const std::size_t fixed = prefix == nullptr || prefix->if_array() == nullptr ? 0 : prefix->if_array()->size();
  if (const Value* least = schema.find("minItems"); least != nullptr && least->if_integer() != nullptr &&
                                                    static_cast<std::int64_t>(items.size()) < *least->if_integer()) {
    codec::wrong_value(where, "expected " + std::to_string(*least->if_integer()) + " items, got " + std::to_string(items.size()));
  }
  const Value* rest = schema.find("items");
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string path = codec::at_index(where, i);
    if (i < fixed) {
      check(items[i], (*prefix->if_array())[i], path, depth + 1);
    } else if (rest != nullptr && rest->if_bool() != nullptr && !*rest->if_bool()) {
      codec::wrong_value(where, "expected " + std::to_string(fixed) + " items, got " + std::to_string(items.size()));
    } else if (rest != nullptr && rest->is_object()) {
      check(items[i], *rest, path, depth + 1);
    }
  }
}

void check_object(const Object& members, const Value& schema, std::string_view where, std::size_t depth) {
  const Value* properties = schema.find("properties");
  const Value* others = schema.find("additionalProperties");
  if (const Value* required = schema.find("required"); required != nullptr && required->if_array() != nullptr) {
    for (const Value& name : *required->if_array()) {
      if (name.if_text() != nullptr && !members.contains(*name.if_text())) {
        codec::wrong_value(codec::at_field(where, *name.if_text()), "expected this field, it is missing");
      }
    }
  }
  for (const auto& [name, member] : members) {
    const std::string path = codec::at_field(where, name);
    if (const Value* known = properties == nullptr ? nullptr : properties->find(name)) {
      check(member, *known, path, depth + 1);
    } else if (others != nullptr && others->if_bool() != nullptr && !*others->if_bool()) {
      codec::wrong_value(path, "expected no such field");
    } else if (others != nullptr && others->is_object()) {
      check(member, *others, path, depth + 1);
    }
  }
}

void check(const Value& value, const Value& schema, std::string_view where, std::size_t depth) {
  if (depth > kMaxSchemaDepth) codec::wrong_value(where, "expected a schema of at most 64 levels, got more");
  if (const Value* any = schema.find("anyOf"); any != nullptr && any->if_array() != nullptr) {
    const Array& choices = *any->if_array();
    // The first choice's complaint is the useful one: the others are usually "or null".
    if (std::none_of(choices.begin(), choices.end(), [&](const Value& one) { return matches(value, one, where, depth + 1); }) &&
        !choices.empty()) {
      check(value, choices.front(), where, depth + 1);
    }
    return;
  }
  if (const Value* choices = schema.find("enum"); choices != nullptr && choices->if_array() != nullptr) {
    const Array& known = *choices->if_array();
    if (std::find(known.begin(), known.end(), value) == known.end()) {
      codec::wrong_value(where, "expected one of " + to_json(*choices) + ", got " + to_json(value));
    }
  }
  if (const Value* type = schema.find("type"); type != nullptr && type->if_text() != nullptr && !has_type(value, *type->if_text())) {
    codec::wrong_type(where, *type->if_text(), value);
  }
  check_range(value, schema, where);
  if (const Array* items = value.if_array()) check_array(*items, schema, where, depth);
  if (const Object* members = value.if_object()) check_object(*members, schema, where, depth);
}

}  // namespace

void check_json_schema(const Value& value, const Value& schema, std::string_view where) { check(value, schema, where, 0); }

}  // namespace errand
