#include "cli/help.hpp"

#include <algorithm>
#include <vector>

namespace errand::cli {

namespace {

constexpr std::size_t kWidth = 100;
constexpr std::size_t kColumn = 32;

// The documentation of settings is Markdown; screens are not.
std::string plain(std::string_view text) {
  std::string out(text);
  std::erase(out, '`');
  return out;
}

std::string row(const std::string& left, std::string_view right) {
  std::string out = "  " + left;
  if (out.size() + 2 > kColumn)
    out += "\n" + std::string(kColumn, ' ');
  else
    out.append(kColumn - out.size(), ' ');
  return out + fold(plain(right), kWidth - kColumn, kColumn) + "\n";
}

std::string names_with_value(const ShownOption& option) {
  return std::string(option.names) + (option.metavar.empty() ? "" : " " + std::string(option.metavar));
}

std::string options_table(const std::vector<Option>& options) {
  std::string out;
  for (const Option& option : options) {
    const ShownOption one = shown(option);
    // Long names stand below each other.
    const std::string indent = one.names.rfind("--", 0) == 0 ? "    " : "";
    out += row(indent + names_with_value(one), one.doc);
  }
  return out;
}

}  // namespace

std::string fold(std::string_view text, std::size_t width, std::size_t indent) {
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    const bool line_ends = end < text.size() && text[end] == '\n';
    if (column > 0 && column + 1 + word.size() > width) {
      out += "\n" + std::string(indent, ' ');
      column = 0;
    }
    if (column > 0 && !word.empty()) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line_ends) {
      out += "\n" + std::string(text.empty() ? 0 : indent, ' ');
      column = 0;
    }
  }
  return out;
}

std::string usage_of(const Command& command) {
  std::string out = "errand " + std::string(command.name) + " [OPTIONS]";
  for (const Positional& one : command.positionals) {
    const std::string name = std::string(one.name) + (one.repeated ? "..." : "");
    out += one.required ? " " + name : " [" + name + "]";
  }
  return out;
}

std::string overview() {
  std::string out =
      "Errand: a distributed task queue that speaks Celery's protocol.\n\n"
      "usage: errand COMMAND [OPTIONS]\n\ncommands:\n";
  for (const Command* command : commands()) out += row(std::string(command->name), command->summary);
  out += "\noptions of every command:\n" + options_table(common_options());
  out +=
      "\nWithout any configuration everything happens in the SQLite file errand.db of the current directory:\n\n"
      "  errand worker &\n"
      "  errand send demo.add '[1, 2]' --wait\n\n"
      "errand COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 used wrongly, 78 wrong configuration.\n";
  return out;
}

std::string help_of(const Command& command) {
  std::string out = "errand " + std::string(command.name) + ": " + std::string(command.summary) +
                    "\n\nusage: " + usage_of(command) + "\n";
  if (!command.description.empty()) out += "\n" + fold(command.description, kWidth, 0) + "\n";
  if (!command.positionals.empty()) {
    out += "\narguments:\n";
    for (const Positional& one : command.positionals) out += row(std::string(one.name), one.doc);
  }
  if (!command.options.empty()) out += "\noptions:\n" + options_table(command.options);
  std::vector<Option> rest = command.with_broker ? broker_options() : std::vector<Option>{};
  rest.insert(rest.end(), common_options().begin(), common_options().end());
  out += "\noptions of every command:\n" + options_table(rest);
  out += command.examples.size() > 1 ? "\nexamples:\n" : "\nexample:\n";
  for (const Example& one : command.examples) {
    out += "  " + std::string(one.line) + "\n";
    if (!one.doc.empty()) out += "      " + std::string(one.doc) + "\n";
  }
  return out;
}

}  // namespace errand::cli
