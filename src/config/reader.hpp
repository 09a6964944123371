#pragma once
// Reader: one table of the file, member by member, with mistakes that name the line.

#include "config/convert.hpp"
#include "config/toml_file.hpp"

#include <errand/time.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::config {

inline constexpr std::size_t kMostArguments = 256;  ///< of an array of texts

/// Reads the members of one table by name; what nobody asked for is a mistake at the end. The table outlives it.
class Reader {
 public:
  /// `title` begins every message: "[tasks."media.convert"] ".
  Reader(const Node& table, std::string file, std::string title, Problems& problems)
      : table_(table), file_(std::move(file)), title_(std::move(title)), problems_(problems) {}

  void wrong(std::size_t line, const std::string& text);
  /// Runs `take` with the key's value; an Error it throws becomes a mistake with the key's line.
  void key(std::string_view name, const std::function<void(const Node&)>& take);
  /// As a setting of the table would be read.
  void setting(std::string_view name, const Setting& like, const std::function<void(const Value&)>& take);
  void text(std::string_view name, std::optional<std::string>& out);
  void flag(std::string_view name, std::optional<bool>& out);
  void duration(std::string_view name, std::optional<Milliseconds>& out);
  void size(std::string_view name, std::optional<std::uint64_t>& out);
  void count(std::string_view name, std::optional<std::uint32_t>& out);
  void finish();

  // For `take`: throw what becomes the mistake.
  [[noreturn]] static void refuse_with(std::string detail);
  [[noreturn]] static void refuse(const std::string& expected, const Node& node);
  /// An array of 1 to kMostArguments texts.
  static std::vector<std::string> texts(const Node& node, std::string_view expected);

 private:
  const Node& table_;
  std::string file_, title_;
  Problems& problems_;
  std::vector<std::string_view> known_;
};

}  // namespace errand::config
