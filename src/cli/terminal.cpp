#include "cli/terminal.hpp"

#include "core/text.hpp"

#include <sys/ioctl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>

namespace errand::cli {

namespace {

constexpr std::size_t kMostColumn = 80;

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the reader has gone, as in `errand status | head`
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Characters, as far as a column's width is concerned: continuation bytes count nothing.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::size_t terminal_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 0;
  return size.ws_col;
}

}  // namespace

void Terminal::result(const Value& document) {
  if (json_) put(to_json(document, JsonStyle{.indent = 2}) + "\n");
}

void Terminal::line(std::string_view text) {
  if (!json_) put(core::escape_controls(text) + "\n");
}

void Terminal::text(std::string_view text) {
  if (!json_) put(text);
}

void Terminal::table(const std::vector<std::string>& titles, const std::vector<std::vector<std::string>>& rows) {
  if (json_) return;
  std::vector<std::vector<std::string>> cells{titles};
  for (const auto& row : rows) {
    cells.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string safe = core::escape_controls(row[i]);
      cells.back().push_back(i + 1 < row.size() ? core::shorten(safe, kMostColumn) : safe);
    }
  }
  std::vector<std::size_t> widths(titles.size());
  for (const auto& row : cells) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  const std::size_t screen = terminal_width();
  std::string out;
  for (const auto& row : cells) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - width(row[i]) + 2, ' ');
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += (screen > 0 ? core::shorten(line, screen) : line) + "\n";
  }
  put(out);
}

bool error_is_terminal() { return isatty(STDERR_FILENO) != 0; }

}  // namespace errand::cli
