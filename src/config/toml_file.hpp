#pragma once
// A TOML file as a tree that remembers lines. The only place that knows the TOML library.

#include "config/problem.hpp"

#include <errand/value.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::config {

/// One node. A table keeps its keys in the order of the file.
struct Node {
  std::size_t line = 0;
  bool table = false;
  Value value;  ///< of a scalar or an array; dates are refused while reading
  struct Member;
  std::vector<Member> members;

  const Node* find(std::string_view key) const noexcept;
};

struct Node::Member {
  std::string key;
  Node node;
};

/// Largest file that is read.
inline constexpr std::size_t kMostFileBytes = 1u << 20;

/// nullopt, with the reason in `problems`, when the file cannot be read or is no TOML.
std::optional<Node> read_toml(const std::string& path, Problems& problems);
/// The same from memory; `name` stands in messages.
std::optional<Node> parse_toml(std::string_view text, const std::string& name, Problems& problems);

}  // namespace errand::config
