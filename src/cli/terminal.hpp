#pragma once
// What a command prints: tables for people, JSON for scripts (one document on standard output), never both.

#include <errand/value.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace errand::cli {

class Terminal {
 public:
  explicit Terminal(bool json) : json_(json) {}

  bool json() const noexcept { return json_; }
  /// With --json the document, else nothing: commands print for people themselves.
  void result(const Value& document);
  /// A line for people; control characters in it are escaped. Nothing with --json.
  void line(std::string_view text);
  /// Several lines as they are, for text that this program made itself.
  void text(std::string_view text);
  /// Columns as wide as their content; the last one is cut at the width of the terminal. Nothing with --json.
  void table(const std::vector<std::string>& titles, const std::vector<std::vector<std::string>>& rows);

 private:
  bool json_;
};

/// True when people read standard error.
bool error_is_terminal();

}  // namespace errand::cli
