// errand up: everything on one SQLite file, for a laptop.
#include "cli/start.hpp"

#include <errand/error.hpp>

namespace errand::cli {

namespace {

int up(Context& context) {
  const std::string url = context.settings.text("broker_url");
  if (url.rfind("sqlite:", 0) != 0) {
    throw UsageError("expected one SQLite file as broker, got " + redact_url(url) + "; for a server use errand worker",
                     context.args.command);
  }
  context.out.text("errand up: " + redact_url(url) + "\n");
  for (const TaskDefinition* task : context.registry.all())
    context.out.line("  " + describe_task(task->name, task->schema));
  context.out.text("From another terminal: errand send NAME '[ARGUMENTS]' --wait, errand status. Ctrl-C stops.\n\n");
  return run_worker(context);
}

}  // namespace

extern const Command up_command;
const Command up_command{
    .name = "up",
    .summary = "one SQLite file and a worker on it, for a laptop; runs until Ctrl-C",
    .description =
        "Makes the file if it is not there, runs a worker with every task of this program and of errand.toml, and says "
        "how to send.",
    .positionals = {},
    .options = {{.setting = "worker_queues"}, {.setting = "worker_concurrency"}, {.setting = "worker_pool"}},
    .examples = {{"errand up", "in a folder with an errand.toml that names some programs as tasks"}},
    .run = up};

}  // namespace errand::cli
