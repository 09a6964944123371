#include "protocol/header_fields.hpp"

#include "core/iso8601.hpp"
#include "protocol/decode_failure.hpp"

#include <cmath>
#include <limits>

namespace errand::protocol {
namespace {

std::string describe(const Value& value) {
  std::string out(kind_name(value.kind()));
  if (const std::string* text = value.if_text()) return out + " '" + printable(*text) + "'";
  if (value.is_integer() || value.is_number() || value.is_bool()) return out + " " + to_json(value);
  return out;
}

std::optional<Milliseconds> seconds(std::string_view name, const Value& value) {
  if (value.is_null()) return std::nullopt;
  if (!value.is_integer() && !value.is_number()) bad_header(name, "[hard, soft] in seconds or null", value);
  const double given = value.as_number();
  if (!(given >= 0)) bad_header(name, "seconds from 0", value);
  if (given == 0) return std::nullopt;
  if (given >= static_cast<double>(kLongestLimit.count()) / 1000) return kLongestLimit;
  // A limit below a millisecond is still a limit.
  return Milliseconds{std::max<std::int64_t>(1, std::llround(given * 1000))};
}

}  // namespace

void bad_header(std::string_view name, std::string_view expected, const Value& got) {
  throw DecodeFailure(reason::bad_header, std::string(name),
                      "expected " + std::string(expected) + ", got " + describe(got));
}

std::optional<TimePoint> read_time(std::string_view text) { return core::parse_iso8601(text); }

std::string write_time(TimePoint time) { return core::format_iso8601(time); }

const Value* HeaderFields::find(std::string_view name) const noexcept {
  const Value* value = headers_.find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string HeaderFields::text(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return "";
  const std::string* text = value->if_text();
  if (text == nullptr) bad_header(name, "text or null", *value);
  return *text;
}

std::string HeaderFields::required_text(std::string_view name) const {
  const Value* value = headers_.find(name);
  if (value == nullptr) {
    throw DecodeFailure(reason::bad_header, std::string(name), "expected text, but the header is missing");
  }
  const std::string* text = value->if_text();
  if (text == nullptr || text->empty()) bad_header(name, "text that is not empty", *value);
  return *text;
}

std::optional<std::int64_t> HeaderFields::integer(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::int64_t* number = value->if_integer();
  if (number == nullptr) bad_header(name, "integer or null", *value);
  return *number;
}

std::uint32_t HeaderFields::count(std::string_view name) const {
  const auto number = integer(name);
  if (!number) return 0;
  if (*number < 0 || *number > std::numeric_limits<std::uint32_t>::max()) {
    bad_header(name, "integer from 0 to 4294967295", *headers_.find(name));
  }
  return static_cast<std::uint32_t>(*number);
}

std::optional<bool> HeaderFields::flag(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const bool* flag = value->if_bool();
  if (flag == nullptr) bad_header(name, "bool or null", *value);
  return *flag;
}

std::optional<TimePoint> HeaderFields::time(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::string* text = value->if_text();
  if (text == nullptr) bad_header(name, "ISO 8601 time or null", *value);
  const auto time = read_time(*text);
  if (!time) bad_header(name, "ISO 8601 time such as 2026-11-22T05:43:54+00:00", *value);
  return time;
}

std::vector<std::string> HeaderFields::texts(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return {};
  const Array* list = value->if_array();
  if (list == nullptr) bad_header(name, "array of text or null", *value);
  std::vector<std::string> out;
  for (const Value& item : *list) {
    const std::string* text = item.if_text();
    if (text == nullptr) bad_header(name, "array of text", item);
    out.push_back(*text);
  }
  return out;
}

Object HeaderFields::object(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return {};
  const Object* object = value->if_object();
  if (object == nullptr) bad_header(name, "object or null", *value);
  return *object;
}

void HeaderFields::limits(std::string_view name, std::optional<Milliseconds>& hard,
                          std::optional<Milliseconds>& soft) const {
  const Value* value = find(name);
  if (value == nullptr) return;
  const Array* pair = value->if_array();
  if (pair == nullptr || pair->size() != 2) bad_header(name, "[hard, soft] in seconds or null", *value);
  hard = seconds(name, (*pair)[0]);
  soft = seconds(name, (*pair)[1]);
}

std::string text_or_empty(const Object& fields, std::string_view name) {
  const Value* value = fields.find(name);
  const std::string* text = value == nullptr ? nullptr : value->if_text();
  return text == nullptr ? std::string() : *text;
}

}  // namespace errand::protocol
