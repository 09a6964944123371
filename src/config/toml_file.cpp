#include "config/toml_file.hpp"

#include "core/file.hpp"
#include "core/text.hpp"

#include <algorithm>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

namespace errand::config {

namespace {

Value scalar(const toml::node& node);

Value array_value(const toml::array& array) {
  Array items;
  for (const toml::node& item : array) items.push_back(scalar(item));
  return Value(std::move(items));
}

// Tables inside arrays lose their lines, which is good enough for what stands inline in one line.
Value scalar(const toml::node& node) {
  if (const auto* text = node.as_string()) return Value(text->get());
  if (const auto* flag = node.as_boolean()) return Value(flag->get());
  if (const auto* number = node.as_integer()) return Value(static_cast<long long>(number->get()));
  if (const auto* number = node.as_floating_point()) return Value(number->get());
  if (const auto* array = node.as_array()) return array_value(*array);
  if (const auto* table = node.as_table()) {
    Object object;
    for (const auto& [key, child] : *table) object.set(std::string(key.str()), scalar(child));
    return Value(std::move(object));
  }
  // Dates and times have no use of their own here; as text they are refused or taken like any other text.
  std::ostringstream text;
  if (const auto* date = node.as_date()) text << date->get();
  if (const auto* time = node.as_time()) text << time->get();
  if (const auto* both = node.as_date_time()) text << both->get();
  return Value(text.str());
}

Node convert(const toml::table& table) {
  Node out;
  out.table = true;
  out.line = table.source().begin.line;
  for (const auto& [key, child] : table) {
    Node member;
    if (const auto* inner = child.as_table()) {
      member = convert(*inner);
    } else {
      member.value = scalar(child);
    }
    member.line = key.source().begin.line;
    out.members.push_back({std::string(key.str()), std::move(member)});
  }
  // The library sorts by key; people look for the first mistake at the top.
  std::sort(out.members.begin(), out.members.end(), [](const Node::Member& a, const Node::Member& b) {
    return std::pair(a.node.line, std::string_view(a.key)) < std::pair(b.node.line, std::string_view(b.key));
  });
  return out;
}

}  // namespace

const Node* Node::find(std::string_view key) const noexcept {
  for (const auto& [name, node] : members) {
    if (name == key) return &node;
  }
  return nullptr;
}

std::optional<Node> parse_toml(std::string_view text, const std::string& name, Problems& problems) {
  try {
    const toml::table table = toml::parse(text, std::string_view(name));
    return convert(table);
  } catch (const toml::parse_error& error) {
    problems.push_back({name + ":" + std::to_string(error.source().begin.line),
                        "is no TOML: " + core::shorten(core::escape_controls(error.description()), 200)});
    return std::nullopt;
  }
}

std::optional<Node> read_toml(const std::string& path, Problems& problems) {
  std::string wrong;
  const auto text = core::read_file(path, kMostFileBytes, wrong);
  if (!text) {
    problems.push_back({path, wrong});
    return std::nullopt;
  }
  return parse_toml(*text, path, problems);
}

}  // namespace errand::config
