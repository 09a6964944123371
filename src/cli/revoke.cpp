// errand revoke: keep tasks from starting.
#include "cli/context.hpp"

namespace errand::cli {

namespace {

int revoke(Context& context) {
  const std::vector<std::string> ids = context.args.positionals("ID");
  const std::string signal = context.args.value("--signal").value_or("SIGTERM");
  if (signal != "SIGTERM" && signal != "SIGKILL" && signal != "TERM" && signal != "KILL") {
    throw UsageError("--signal: expected SIGTERM or SIGKILL, got " + config::quoted(signal), context.args.command);
  }
  if (context.args.has("--signal") && !context.args.has("--terminate"))
    throw UsageError("--signal: is for --terminate", context.args.command);
  Client client(context.client_options());
  client.revoke(ids, context.args.has("--terminate"), signal);
  Array named(ids.begin(), ids.end());
  context.out.result(Value::object({{"revoked", Value(std::move(named))}}));
  context.out.line("told the workers that listen now about " + std::to_string(ids.size()) +
                   (ids.size() == 1 ? " task" : " tasks"));
  return 0;
}

}  // namespace

extern const Command revoke_command;
const Command revoke_command{
    .name = "revoke",
    .summary = "keep tasks from starting, or stop them where they run",
    .description =
        "Reaches the workers that listen now, native and Python; they remember the ids (worker_revoke_expires).",
    .positionals = {{"ID", "ids of tasks", true, true}},
    .options = {{.names = "--terminate", .doc = "Also stop the task where it runs."},
                {.names = "--signal",
                 .metavar = "SIGNAL",
                 .doc = "SIGTERM asks the task to stop, SIGKILL kills its process. Default: SIGTERM."}},
    .examples = {{"errand revoke 3f1c2a9e-5f0d-4a6f-9a53-0d1c7a2b8e11 --terminate", ""}},
    .run = revoke};

}  // namespace errand::cli
