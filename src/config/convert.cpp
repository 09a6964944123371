#include "config/convert.hpp"

#include "core/log.hpp"
#include "core/text.hpp"
#include "core/utf8.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace errand::config {

namespace {

constexpr std::size_t kMostText = 64 << 10;
constexpr std::size_t kMostQueueName = 255;  // what every broker can carry
constexpr std::size_t kMostItems = 1'000;
constexpr std::size_t kMostShown = 60;

std::string amount(const Setting& setting, std::int64_t held) {
  if (setting.type == Type::duration) return core::format_duration(Milliseconds{held});
  if (setting.type != Type::size) return std::to_string(held);
  for (const auto& [word, shift] : {std::pair<const char*, int>{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}) {
    if (held > 0 && held % (std::int64_t{1} << shift) == 0) return std::to_string(held >> shift) + word;
  }
  return std::to_string(held);
}

std::string limits(const Setting& setting) {
  if (setting.most > 0) return " from " + amount(setting, setting.least) + " to " + amount(setting, setting.most);
  return setting.least != 0 ? " of at least " + amount(setting, setting.least) : "";
}

Converted wrong(const Setting& setting, const std::string& got) {
  return {std::nullopt, "expected " + expectation(setting) + ", got " + got};
}

Converted in_limits(const Setting& setting, std::int64_t held, const std::string& got) {
  if (held < setting.least || (setting.most > 0 && held > setting.most)) return wrong(setting, got);
  return {Value(held), ""};
}

/// A number without a unit, in the setting's own unit.
Converted from_number(const Setting& setting, double number, const std::string& got) {
  const double held = number * static_cast<double>(setting.bare);
  if (!std::isfinite(held) || std::abs(held) > 9e15) return wrong(setting, got);
  return in_limits(setting, std::llround(held), got);
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    parts.push_back(part);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return parts;
}

std::vector<std::string_view> words(std::string_view choices) {
  std::vector<std::string_view> out;
  while (!choices.empty()) {
    const auto bar = choices.find('|');
    out.push_back(choices.substr(0, bar));
    choices.remove_prefix(bar == std::string_view::npos ? choices.size() : bar + 1);
  }
  return out;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

Converted from_choice(const Setting& setting, std::string_view text) {
  const auto known = words(setting.choices);
  const std::string word = lowered(text);
  if (std::find(known.begin(), known.end(), word) != known.end()) return {Value(word), ""};
  Converted refused = wrong(setting, quoted(text));
  if (const auto near = core::nearest_word(word, known); !near.empty())
    refused.wrong += "; did you mean " + std::string(near) + "?";
  return refused;
}

Converted from_list(const Setting& setting, const std::vector<std::string_view>& parts) {
  Array items;
  if (parts.size() > kMostItems) return wrong(setting, std::to_string(parts.size()) + " items");
  for (const std::string_view part : parts) {
    if (setting.type == Type::integers) {
      const auto number = whole_number(part);
      if (!number || *number < setting.least || *number > setting.most) return wrong(setting, quoted(part));
      items.emplace_back(*number);
    } else {
      if (const std::string mistake = queue_name_mistake(part); !mistake.empty()) return {std::nullopt, mistake};
      items.emplace_back(part);
    }
  }
  return {Value(std::move(items)), ""};
}

}  // namespace

std::string Quoted::operator()(std::string_view text) const {
  return "\"" + core::shorten(core::escape_controls(log::redact(text.substr(0, 4 * kMostShown))), kMostShown) + "\"";
}

std::string describe(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::text:
      return "text " + quoted(value.as_text());
    case Value::Kind::boolean:
      return value.as_bool() ? "true" : "false";
    case Value::Kind::integer:
      return "integer " + std::to_string(value.as_integer());
    case Value::Kind::number:
      return "float " + to_json(value);
    case Value::Kind::object:
      return "a table";
    case Value::Kind::array:
      return "an array";
    default:
      return std::string(kind_name(value.kind()));
  }
}

std::string queue_name_mistake(std::string_view name) {
  if (name.empty()) return "expected the name of a queue, got nothing";
  if (name.size() > kMostQueueName)
    return "expected the name of a queue of at most 255 bytes, got " + std::to_string(name.size()) + " bytes";
  if (core::escape_controls(name) != name)
    return "expected the name of a queue without control characters, got " + quoted(name);
  for (std::size_t i = 0; i < name.size();) {
    const std::size_t length = static_cast<unsigned char>(name[i]) < 0x80 ? 1 : utf8::sequence(name.substr(i));
    if (length == 0) return "expected the name of a queue in UTF-8, got other bytes";
    i += length;
  }
  return "";
}

std::string expectation(const Setting& setting) {
  switch (setting.type) {
    case Type::integer:
      return "an integer" + limits(setting);
    case Type::boolean:
      return "true or false";
    case Type::duration:
      return "a duration" + limits(setting) + " (\"90s\", \"5min\"; a bare number is seconds)";
    case Type::size:
      return "a size" + limits(setting) +
             (setting.bare == 1'024 ? " (\"64MiB\"; a bare number is KiB)" : " (\"64KiB\", \"16MiB\")");
    case Type::choice: {
      const auto known = words(setting.choices);
      std::string text = known.size() > 1 ? "one of " : "";
      for (std::size_t i = 0; i < known.size(); ++i) text += (i == 0 ? "" : ", ") + std::string(known[i]);
      return text;
    }
    case Type::list:
      return "a list of names";
    case Type::integers:
      return "a list of integers" + limits(setting);
    case Type::path:
      return "the path of a file";
    case Type::queue:
      return "the name of a queue";
    case Type::text:
      break;
  }
  return "text";
}

Converted convert_text(const Setting& setting, std::string_view text) {
  if (text.size() > kMostText) return wrong(setting, std::to_string(text.size()) + " bytes");
  switch (setting.type) {
    case Type::text:
    case Type::path:
      if (core::escape_controls(text) != text) return wrong(setting, "control characters in " + quoted(text));
      return {Value(text), ""};
    case Type::queue:
      if (const std::string mistake = queue_name_mistake(text); !mistake.empty()) return {std::nullopt, mistake};
      return {Value(text), ""};
    case Type::integer: {
      const auto number = whole_number(text);
      return number ? in_limits(setting, *number, quoted(text)) : wrong(setting, quoted(text));
    }
    case Type::boolean: {
      const std::string word = lowered(text);
      if (word == "true" || word == "1" || word == "yes" || word == "on") return {Value(true), ""};
      if (word == "false" || word == "0" || word == "no" || word == "off") return {Value(false), ""};
      return wrong(setting, quoted(text));
    }
    case Type::duration: {
      const auto parsed = core::parse_duration(text);
      return parsed ? in_limits(setting, parsed->count(), quoted(text)) : wrong(setting, quoted(text));
    }
    case Type::size: {
      if (const auto bare = whole_number(text)) return from_number(setting, static_cast<double>(*bare), quoted(text));
      const auto parsed = core::parse_size(text);
      return parsed && *parsed < (1ull << 53) ? in_limits(setting, static_cast<std::int64_t>(*parsed), quoted(text))
                                              : wrong(setting, quoted(text));
    }
    case Type::choice:
      return from_choice(setting, text);
    case Type::list:
    case Type::integers:
      return from_list(setting, split(text));
  }
  return wrong(setting, quoted(text));
}

Converted convert_value(const Setting& setting, const Value& given) {
  const std::string got = describe(given);
  switch (setting.type) {
    case Type::boolean:
      return given.is_bool() ? Converted{given, ""} : wrong(setting, got);
    case Type::integer:
      return given.is_integer() ? in_limits(setting, given.as_integer(), got) : wrong(setting, got);
    case Type::duration:
    case Type::size:
      if (given.is_integer() || given.is_number()) return from_number(setting, given.as_number(), got);
      return given.is_text() ? convert_text(setting, given.as_text()) : wrong(setting, got);
    case Type::list:
    case Type::integers: {
      if (given.is_text()) return convert_text(setting, given.as_text());
      if (!given.is_array()) return wrong(setting, got);
      std::vector<std::string> texts;
      for (const Value& item : given.as_array()) {
        if (setting.type == Type::list ? !item.is_text() : !item.is_integer())
          return wrong(setting, "an array with " + describe(item));
        texts.push_back(item.is_text() ? item.as_text() : std::to_string(item.as_integer()));
      }
      return from_list(setting, {texts.begin(), texts.end()});
    }
    case Type::choice:
      if (given.is_bool()) return from_choice(setting, given.as_bool() ? "true" : "false");
      [[fallthrough]];
    case Type::text:
    case Type::path:
    case Type::queue:
      break;
  }
  return given.is_text() ? convert_text(setting, given.as_text()) : wrong(setting, got);
}

std::string show(const Setting& setting, const Value& value) {
  switch (value.kind()) {
    case Value::Kind::null:
      return "";
    case Value::Kind::boolean:
      return value.as_bool() ? "true" : "false";
    case Value::Kind::integer:
      return amount(setting, value.as_integer());
    case Value::Kind::text:
      return setting.secret ? log::redact(value.as_text()) : value.as_text();
    case Value::Kind::array: {
      std::string out;
      for (const Value& item : value.as_array())
        out += (out.empty() ? "" : ",") + (item.is_text() ? item.as_text() : to_json(item));
      return out;
    }
    default:
      return to_json(value);
  }
}

Value fallback(const Setting& setting) {
  if (setting.fallback.empty()) return Value();
  Converted converted = convert_text(setting, setting.fallback);
  if (!converted.value) {
    throw Error({.kind = ErrorKind::bug,
                 .operation = "config.table",
                 .subject = std::string(setting.name),
                 .detail = converted.wrong});
  }
  return std::move(*converted.value);
}

}  // namespace errand::config
