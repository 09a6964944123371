#include "tasks/json_schema.hpp"

#include <errand/codec.hpp>

#include "value/typed.hpp"

#include <algorithm>

namespace errand {

namespace {

constexpr std::size_t kMaxSchemaDepth = 64;  // of a catalogue from outside

bool is_whole(const Value& value) { return value.is_integer() || value.kind() == Value::Kind::big_integer; }

bool has_type(const Value& value, const Value& schema, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "integer") return is_whole(value);
  if (type == "number") return value.is_number() || is_whole(value);
  if (type == "string") {
    const Value* encoding = schema.find("contentEncoding");
    if (encoding != nullptr) return value.is_bytes();
    const auto typed = typed::view(value);  // decimal, uuid, datetime: read as their text
    return value.is_text() || (typed && typed->type != "bytes" && typed->type != "base64");
  }
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  return true;
}

// Exact for integers of any size; as floats otherwise.
bool less(const Value& a, const Value& b) {
  if (!is_whole(a) || !is_whole(b)) return a.as_number() < b.as_number();
  const std::string left = to_json(a);
  const std::string right = to_json(b);
  const bool left_negative = left.front() == '-';
  if (left_negative != (right.front() == '-')) return left_negative;
  const bool smaller = left.size() != right.size() ? left.size() < right.size() : left < right;
  return left == right ? false : smaller != left_negative;
}

std::string words(const Value& schema, std::size_t depth) {
  if (depth > kMaxSchemaDepth) return "any value";
  const auto has = [&](const char* name, const char* text) {
    const Value* found = schema.find(name);
    return found != nullptr && *found == Value(text);
  };
  std::string text;
  if (const Value* any = schema.find("anyOf"); any != nullptr && any->if_array() != nullptr) {
    for (const Value& one : *any->if_array()) text += (text.empty() ? "" : " or ") + words(one, depth + 1);
    return text;
  }
  if (const Value* choices = schema.find("enum"); choices != nullptr && choices->if_array() != nullptr) {
    for (const Value& one : *choices->if_array()) {
      text += (text.empty() ? "" : " | ") + (one.if_text() != nullptr ? *one.if_text() : to_json(one));
    }
    return text;
  }
  if (has("format", "date-time")) return "time (ISO 8601)";
  if (has("type", "integer")) return "integer";
  if (has("type", "number")) return has("description", "seconds") ? "seconds" : "float";
  if (has("type", "boolean")) return "bool";
  if (has("type", "null")) return "null";
  if (has("type", "string")) return schema.find("contentEncoding") != nullptr ? "bytes" : "text";
  if (has("type", "array")) {
    if (const Value* prefix = schema.find("prefixItems"); prefix != nullptr && prefix->if_array() != nullptr) {
      for (const Value& one : *prefix->if_array()) text += (text.empty() ? "" : ", ") + words(one, depth + 1);
      return "tuple of (" + text + ")";
    }
    const Value* items = schema.find("items");
    return items == nullptr ? "list" : "list of " + words(*items, depth + 1);
  }
  if (has("type", "object")) {
    const Value* others = schema.find("additionalProperties");
    return others == nullptr || !others->is_object() ? "object" : "map of " + words(*others, depth + 1);
  }
  return "any value";
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
  const auto numeric = [](const Value* v) { return v != nullptr && (v->is_number() || is_whole(*v)); };
  if (!numeric(&value)) return;
  const Value* least = schema.find("minimum");
  const Value* most = schema.find("maximum");
  if ((numeric(least) && less(value, *least)) || (numeric(most) && less(*most, value))) {
    codec::wrong_value(where, "expected " + (least == nullptr ? std::string("any") : to_json(*least)) + " to " +
                                  (most == nullptr ? std::string("any") : to_json(*most)) + ", got " + to_json(value));
  }
}

void check_type(const Value& value, const Value& schema, std::string_view where) {
  const Value* type = schema.find("type");
  if (type == nullptr) return;
  const auto fits = [&](const Value& one) {
    return one.if_text() == nullptr || has_type(value, schema, *one.if_text());
  };
  const Array* choices = type->if_array();
  if (choices == nullptr ? fits(*type) : std::any_of(choices->begin(), choices->end(), fits)) return;
  codec::wrong_type(where, schema_words(schema), value);
}

void check_format(const Value& value, const Value& schema, std::string_view where) {
  const Value* format = schema.find("format");
  if (format == nullptr || *format != Value("date-time") || !value.is_text()) return;
  static_cast<void>(codec::to_time_point(value, where));
}

void check_array(const Array& items, const Value& schema, std::string_view where, std::size_t depth) {
  const Value* prefix = schema.find("prefixItems");
  const std::size_t fixed = prefix == nullptr || prefix->if_array() == nullptr ? 0 : prefix->if_array()->size();
  if (const Value* least = schema.find("minItems"); least != nullptr && least->if_integer() != nullptr &&
                                                    static_cast<std::int64_t>(items.size()) < *least->if_integer()) {
    codec::wrong_value(
        where, "expected " + std::to_string(*least->if_integer()) + " items, got " + std::to_string(items.size()));
  }
  if (const Value* most = schema.find("maxItems"); most != nullptr && most->if_integer() != nullptr &&
                                                   static_cast<std::int64_t>(items.size()) > *most->if_integer()) {
    codec::wrong_value(
        where, "expected " + std::to_string(*most->if_integer()) + " items, got " + std::to_string(items.size()));
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
    if (std::none_of(choices.begin(), choices.end(),
                     [&](const Value& one) { return matches(value, one, where, depth + 1); }) &&
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
  check_type(value, schema, where);
  check_format(value, schema, where);
  check_range(value, schema, where);
  if (const Array* items = value.if_array()) check_array(*items, schema, where, depth);
  if (const Object* members = value.if_object()) check_object(*members, schema, where, depth);
}

}  // namespace

std::string schema_words(const Value& schema) { return words(schema, 0); }

void check_json_schema(const Value& value, const Value& schema, std::string_view where) {
  check(value, schema, where, 0);
}

}  // namespace errand
