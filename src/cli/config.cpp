// errand config: what is in force, and where it comes from.
#include "cli/context.hpp"
#include "config/document.hpp"

namespace errand::cli {

namespace {

int config_screen(Context& context) {
  if (context.args.has("--markdown")) {
    context.out.text(config::configuration_markdown());
    return 0;
  }
  check_urls(context.settings);
  const bool only_changed = context.args.has("--diff");
  Object document;
  std::vector<std::vector<std::string>> rows;
  for (const config::Effective& one : context.settings.all()) {
    if (only_changed && !one.changed()) continue;
    const std::string shown = config::show(*one.setting, one.value);
    document.set(std::string(one.setting->name), Value::object({{"value", one.value.is_null() ? Value() : Value(shown)},
                                                                {"source", one.origin.where}}));
    rows.push_back({std::string(one.setting->name),
                    one.value.is_null() ? "-"
                    : shown.empty()     ? "\"\""
                                        : shown,
                    one.origin.where});
  }
  Array tasks, routes, queues;
  for (const config::TaskSection& task : context.settings.tasks) {
    tasks.emplace_back(task.name);
    rows.push_back({"[tasks." + config::quoted(task.name) + "]",
                    task.command.empty() ? "options" : task.command.front(), task.where});
  }
  for (const config::RouteSection& route : context.settings.routes) {
    routes.push_back(Value::object({{"pattern", route.pattern}, {"queue", route.queue}}));
    rows.push_back({"[routes] " + config::quoted(route.pattern), route.queue, context.settings.file});
  }
  for (const QueueSpec& queue : context.settings.queues) {
    queues.emplace_back(queue.name);
    rows.push_back({"[queues." + config::quoted(queue.name) + "]", queue.exchange_type, context.settings.file});
  }
  context.out.result(Value::object({{"file", context.settings.file.empty() ? Value() : Value(context.settings.file)},
                                    {"settings", Value(std::move(document))},
                                    {"tasks", Value(std::move(tasks))},
                                    {"routes", Value(std::move(routes))},
                                    {"queues", Value(std::move(queues))}}));
  if (rows.empty())
    context.out.line("nothing differs from the defaults");
  else
    context.out.table({"SETTING", "VALUE", "SOURCE"}, rows);
  return 0;
}

}  // namespace

extern const Command config_command;
const Command config_command{
    .name = "config",
    .summary = "print the effective configuration with the source of each value",
    .description = "Reads it as every command does, so that mistakes show (exit code 78). Passwords are masked.",
    .positionals = {},
    .options = {{.names = "--diff", .doc = "Only what differs from the defaults."},
                {.names = "--markdown", .doc = "Print the reference of all settings instead."}},
    .examples = {{"errand config --diff", ""}},
    .run = config_screen};

}  // namespace errand::cli
