#pragma once
// Help screens, the bash completion, the man page and docs/cli.md, all from the table of commands.

#include "cli/command.hpp"

#include <string>

namespace errand::cli {

std::string overview();
std::string help_of(const Command& command);
/// "errand send [OPTIONS] NAME [ARGS]"
std::string usage_of(const Command& command);

std::string bash_completion();
std::string man_page();
std::string cli_markdown();

/// Folds text into lines of at most `width`, each after the first `indent` blanks in.
std::string fold(std::string_view text, std::size_t width, std::size_t indent);

}  // namespace errand::cli
