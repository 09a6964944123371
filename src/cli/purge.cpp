// errand purge: throw away what waits in a queue.
#include "cli/context.hpp"

#include <errand/error.hpp>

namespace errand::cli {

namespace {

int purge(Context& context) {
  const std::string queue = queue_argument(context, context.args.positional("QUEUE"));
  const auto broker = context.broker();
  if (!context.args.has("--force")) {
    const QueueInfo found = broker->inspect(queue);
    throw UsageError("would delete " + std::to_string(found.ready + found.parked) + " messages that wait in " +
                         config::quoted(queue) + "; add --force to go ahead",
                     context.args.command);
  }
  const std::size_t deleted = broker->purge(queue);
  context.out.result(Value::object({{"queue", queue}, {"purged", deleted}}));
  context.out.line("deleted " + std::to_string(deleted) + " messages from " + queue);
  return 0;
}

}  // namespace

extern const Command purge_command;
const Command purge_command{.name = "purge",
                            .summary = "delete every message that waits in a queue",
                            .description = "What workers hold already goes on; dead letters stay.",
                            .positionals = {{"QUEUE", "the queue's name"}},
                            .options = {{.names = "--force", .doc = "Really delete."}},
                            .examples = {{"errand purge media --force", ""}},
                            .run = purge};

}  // namespace errand::cli
