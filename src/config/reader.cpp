#include "config/reader.hpp"

#include "core/text.hpp"

#include <algorithm>

namespace errand::config {

namespace {
constexpr std::int64_t kMostSeconds = 366ll * 86'400;
}  // namespace

void Reader::wrong(std::size_t line, const std::string& text) {
  problems_.push_back({file_ + ":" + std::to_string(line), title_ + text});
}

void Reader::key(std::string_view name, const std::function<void(const Node&)>& take) {
  known_.push_back(name);
  const Node* node = table_.find(name);
  if (node == nullptr) return;
  try {
    take(*node);
  } catch (const Error& error) {
    wrong(node->line, std::string(name) + ": " + (error.detail().empty() ? error.what() : error.detail()));
  }
}

void Reader::setting(std::string_view name, const Setting& like, const std::function<void(const Value&)>& take) {
  key(name, [&](const Node& node) {
    if (node.table) refuse(expectation(like), node);
    Converted converted = convert_value(like, node.value);
    if (!converted.value) refuse_with(converted.wrong);
    take(*converted.value);
  });
}

void Reader::text(std::string_view name, std::optional<std::string>& out) {
  key(name, [&](const Node& node) {
    const std::string* given = node.table ? nullptr : node.value.if_text();
    if (given == nullptr) refuse("text", node);
    out = *given;
  });
}

void Reader::flag(std::string_view name, std::optional<bool>& out) {
  key(name, [&](const Node& node) {
    const bool* given = node.table ? nullptr : node.value.if_bool();
    if (given == nullptr) refuse("true or false", node);
    out = *given;
  });
}

void Reader::duration(std::string_view name, std::optional<Milliseconds>& out) {
  static constexpr Setting like{.group = "",
                                .name = "",
                                .type = Type::duration,
                                .fallback = "",
                                .doc = "",
                                .least = 1,
                                .most = kMostSeconds * 1'000,
                                .bare = 1'000};
  setting(name, like, [&](const Value& value) { out = Milliseconds{value.as_integer()}; });
}

void Reader::size(std::string_view name, std::optional<std::uint64_t>& out) {
  static constexpr Setting like{
      .group = "", .name = "", .type = Type::size, .fallback = "", .doc = "", .least = 1'024, .most = 1ll << 50};
  setting(name, like, [&](const Value& value) { out = static_cast<std::uint64_t>(value.as_integer()); });
}

void Reader::count(std::string_view name, std::optional<std::uint32_t>& out) {
  static constexpr Setting like{
      .group = "", .name = "", .type = Type::integer, .fallback = "", .doc = "", .least = 1, .most = 1'000'000};
  setting(name, like, [&](const Value& value) { out = static_cast<std::uint32_t>(value.as_integer()); });
}

void Reader::finish() {
  for (const auto& [name, node] : table_.members) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::string text = "unknown key " + quoted(name);
    if (const auto near = core::nearest_word(name, known_); !near.empty())
      text += "; did you mean " + std::string(near) + "?";
    wrong(node.line, text);
  }
}

void Reader::refuse_with(std::string detail) {
  throw Error({.kind = ErrorKind::invalid, .operation = "config", .detail = std::move(detail)});
}

void Reader::refuse(const std::string& expected, const Node& node) {
  refuse_with("expected " + expected + ", got " + (node.table ? "a table" : describe(node.value)));
}

std::vector<std::string> Reader::texts(const Node& node, std::string_view expected) {
  const Array* items = node.table ? nullptr : node.value.if_array();
  if (items == nullptr || items->empty() || items->size() > kMostArguments) refuse(std::string(expected), node);
  std::vector<std::string> out;
  for (const Value& item : *items) {
    const std::string* text = item.if_text();
    if (text == nullptr) refuse_with("expected " + std::string(expected) + ", got an array with " + describe(item));
    if (text->find('\0') != std::string::npos) refuse_with("expected text without zero bytes");
    out.push_back(*text);
  }
  return out;
}

}  // namespace errand::config
