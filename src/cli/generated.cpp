// errand completion bash, errand man: written from the table of commands.
#include "cli/context.hpp"
#include "cli/help.hpp"

namespace errand::cli {

namespace {

int completion(Context& context) {
  const std::string shell = context.args.positional("SHELL");
  if (shell != "bash") throw UsageError("SHELL: expected bash, got " + config::quoted(shell), context.args.command);
  context.out.result(Value::object({{"shell", shell}, {"script", bash_completion()}}));
  context.out.text(bash_completion());
  return 0;
}

int man(Context& context) {
  const std::string page = context.args.has("--markdown") ? cli_markdown() : man_page();
  context.out.result(Value::object({{"page", page}}));
  context.out.text(page);
  return 0;
}

}  // namespace

extern const Command completion_command, man_command;

const Command completion_command{.name = "completion",
                                 .summary = "print the completion script for a shell",
                                 .description = "",
                                 .positionals = {{"SHELL", "bash"}},
                                 .options = {},
                                 .examples = {{"source <(errand completion bash)", ""}},
                                 .with_broker = false,
                                 .with_config = false,
                                 .run = completion};

const Command man_command{.name = "man",
                          .summary = "print the manual page",
                          .description = "",
                          .positionals = {},
                          .options = {{.names = "--markdown", .doc = "As docs/cli.md."}},
                          .examples = {{"errand man | man -l -", ""}},
                          .with_broker = false,
                          .with_config = false,
                          .run = man};

}  // namespace errand::cli
