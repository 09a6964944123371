#pragma once
// The words of a command line, sorted into the places that the command's table entry names.

#include "cli/command.hpp"
#include "config/load.hpp"

#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace errand::cli {

/// The command line is not one of this program: exit code 2. `command`: whose help to point to, may be null.
class UsageError : public std::runtime_error {
 public:
  UsageError(const std::string& what, const Command* of = nullptr) : std::runtime_error(what), command(of) {}
  const Command* command;
};

class Arguments {
 public:
  const Command* command = nullptr;  ///< nullptr: only --help or --version was asked for
  bool help = false;
  bool version = false;
  std::vector<config::FlagValue> settings;  ///< what options that name a setting said

  /// Whether the option was given, by any of its names ("--wait").
  bool has(std::string_view option) const;
  /// Its value, the last one if it was repeated; nullopt: not given.
  std::optional<std::string> value(std::string_view option) const;
  std::vector<std::string> values(std::string_view option) const;
  /// The positional's value; "" when an optional one was left out.
  std::string positional(std::string_view name) const;
  std::vector<std::string> positionals(std::string_view name) const;

 private:
  friend class Parser;
  std::map<std::string, std::vector<std::string>, std::less<>> options_;  // by first long name
  std::map<std::string, std::vector<std::string>, std::less<>> positionals_;
};

/// `words`: argv without the program's name. Throws UsageError, with the nearest known word where there is one.
Arguments parse_arguments(std::span<const std::string> words);

/// "-w, --wait" -> {"-w", "--wait"}.
std::vector<std::string_view> split_names(std::string_view names);

}  // namespace errand::cli
