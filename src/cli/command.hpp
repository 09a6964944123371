#pragma once
// The table of commands. The parser, --help, the bash completion, the man page and docs/cli.md are all read from it.

#include <span>
#include <string_view>
#include <vector>

namespace errand::cli {

class Context;

/// An option of one command (or of all).
struct Option {
  std::string_view names;    ///< "-w, --wait"; empty with `setting`: the setting's own
  std::string_view metavar;  ///< "TIME"; empty: a switch
  std::string_view doc;
  std::string_view setting;  ///< the setting of src/config/table.cpp that this option sets
  bool repeated = false;
};

/// What follows the options: "NAME", "[ARGS]", "ID...".
struct Positional {
  std::string_view name;
  std::string_view doc;
  bool required = true;
  bool repeated = false;
};

struct Example {
  std::string_view line;  ///< "errand send media.thumbnail '[\"cat.png\", 200]' --wait"
  std::string_view doc;
};

struct Command {
  std::string_view name;     ///< may be two words: "dead list"
  std::string_view summary;  ///< one line, no full stop
  std::string_view description;
  std::vector<Positional> positionals;
  std::vector<Option> options;
  std::vector<Example> examples;
  bool with_broker = true;  ///< takes -b and the other options of a connection
  bool with_config = true;  ///< reads the configuration
  int (*run)(Context&) = nullptr;
};

/// Every command, in the order of the help screen.
std::span<const Command* const> commands();
const Command* find_command(std::string_view name);

/// Options that every command has, and those of commands that connect somewhere.
const std::vector<Option>& common_options();
const std::vector<Option>& broker_options();
/// All options of a command: its own, then the common ones.
std::vector<Option> options_of(const Command& command);

/// An option with its names and words, wherever they come from.
struct ShownOption {
  std::string_view names;
  std::string_view metavar;
  std::string_view doc;
};
ShownOption shown(const Option& option);

}  // namespace errand::cli
