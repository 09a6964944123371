#include <errand/codec.hpp>

#include "core/iso8601.hpp"
#include "value/typed.hpp"

#include <cmath>

namespace errand::codec {

namespace {
std::string prefix(std::string_view where) { return where.empty() ? std::string() : std::string(where) + ": "; }
}  // namespace

void wrong_type(std::string_view where, std::string_view expected, const Value& got) {
  wrong_value(where, "expected " + std::string(expected) + ", got " + std::string(kind_name(got.kind())));
}

void wrong_value(std::string_view where, std::string detail) {
  throw Error({.kind = ErrorKind::invalid, .operation = "argument", .detail = prefix(where) + std::move(detail)});
}

std::string at_index(std::string_view where, std::size_t index) {
  return std::string(where) + "[" + std::to_string(index) + "]";
}

std::string at_field(std::string_view where, std::string_view field) {
  return where.empty() ? std::string(field) : std::string(where) + "." + std::string(field);
}

std::int64_t to_int64(const Value& value, std::string_view where) {
  if (const std::int64_t* integer = value.if_integer()) return *integer;
  if (value.kind() == Value::Kind::big_integer) {
    wrong_value(where, "expected an integer within 64 bits, got " + value.as_big_integer().digits);
  }
  wrong_type(where, "integer", value);
}

std::uint64_t to_uint64(const Value& value, std::string_view where) {
  if (value.kind() == Value::Kind::big_integer) {
    const std::string& digits = value.as_big_integer().digits;
    std::uint64_t result = 0;
    const bool fits =
        digits[0] != '-' && (digits.size() < 20 || (digits.size() == 20 && digits <= "18446744073709551615"));
    if (!fits) wrong_value(where, "expected an integer from 0 to 18446744073709551615, got " + digits);
    for (const char digit : digits) result = result * 10 + static_cast<std::uint64_t>(digit - '0');
    return result;
  }
  const std::int64_t integer = to_int64(value, where);
  if (integer < 0) wrong_value(where, "expected an integer of at least 0, got " + std::to_string(integer));
  return static_cast<std::uint64_t>(integer);
}

double to_double(const Value& value, std::string_view where) {
  if (value.is_number() || value.is_integer() || value.kind() == Value::Kind::big_integer) return value.as_number();
  wrong_type(where, "float", value);
}

TimePoint to_time_point(const Value& value, std::string_view where) {
  if (value.is_integer() || value.is_number()) return from_unix_seconds(value.as_number());
  const std::string* text = value.if_text();
  if (const auto typed = typed::view(value); typed && (typed->type == "datetime" || typed->type == "date")) {
    text = typed->value->if_text();
  }
  if (text == nullptr) wrong_type(where, "time (ISO 8601)", value);
  const std::string whole = text->size() == 10 ? *text + "T00:00:00" : *text;  // a date is its first moment
  if (const auto point = core::parse_iso8601(whole)) return *point;
  wrong_value(where, "expected time (ISO 8601), got '" + *text + "'");
}

std::string time_text(TimePoint point) { return core::format_iso8601(point); }

std::string to_text(const Value& value, std::string_view where) {
  if (const std::string* text = value.if_text()) return *text;
  if (const auto typed = typed::view(value)) {
    if (const std::string* text = typed->value->if_text()) return *text;
    if (const Value* hex = typed->value->find("hex"); hex != nullptr && hex->if_text() != nullptr) {
      std::string uuid = *hex->if_text();
      if (uuid.size() == 32) {
        for (const std::size_t at : {20u, 16u, 12u, 8u}) uuid.insert(at, 1, '-');
      }
      return uuid;
    }
  }
  wrong_type(where, "text", value);
}

}  // namespace errand::codec
