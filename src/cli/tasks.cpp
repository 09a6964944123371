// errand tasks: the catalogue.
#include "cli/context.hpp"

#include <errand/catalogue.hpp>

namespace errand::cli {

namespace {

int tasks(Context& context) {
  context.out.result(catalogue(context.registry));
  std::vector<std::vector<std::string>> rows;
  for (const TaskDefinition* task : context.registry.all()) {
    const TaskOptions& options = task->options;
    const std::string queue = options.queue_required ? "(required)" : options.queue.empty() ? "-" : options.queue;
    rows.push_back(
        {queue, options.retry.describe(),
         describe_task(task->name, task->schema) + (options.description.empty() ? "" : "  " + options.description)});
  }
  if (rows.empty())
    context.out.line(
        "this program has no tasks; add [tasks.\"name\"] command = [...] to errand.toml, or link tasks into a program "
        "of your own");
  else
    context.out.table({"QUEUE", "RETRY", "TASK"}, rows);
  return 0;
}

}  // namespace

extern const Command tasks_command;
const Command tasks_command{.name = "tasks",
                            .summary = "print the tasks of this program: signature, queue, retry policy",
                            .description =
                                "With --json it prints the catalogue, with signatures as JSON Schema; errand send "
                                "--catalogue FILE checks calls against it.",
                            .positionals = {},
                            .options = {},
                            .examples = {{"errand tasks --json > catalogue.json", ""}},
                            .with_broker = false,
                            .run = tasks};

}  // namespace errand::cli
