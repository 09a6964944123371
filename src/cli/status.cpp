// errand status: is it working?
#include "cli/control.hpp"
#include "cli/queue_rows.hpp"

namespace errand::cli {

namespace {

int status(Context& context) {
  const auto broker = context.broker();
  const std::vector<QueueInfo> queues = all_queues(context, *broker);
  const auto given = context.args.value("--timeout");
  const Milliseconds wait = given ? duration_argument(context, "--timeout", *given) : Milliseconds{1'000};
  const std::vector<WorkerAnswer> workers = ask_workers(*broker, "ping", {}, Deadline::after(wait));
  const bool can_ask = broker->traits().fanout;
  Array names;
  for (const WorkerAnswer& one : workers) names.push_back(Value::object({{"name", one.worker}}));
  context.out.result(Value::object({{"broker", redact_url(context.settings.text("broker_url"))},
                                    {"workers", can_ask ? Value(std::move(names)) : Value()},
                                    {"queues", queues_to_json(queues)}}));
  context.out.line("broker   " + redact_url(context.settings.text("broker_url")));
  if (!can_ask)
    context.out.line("workers  cannot be asked through this broker");
  else if (workers.empty())
    context.out.line("workers  none answered within " + age(wait));
  for (const WorkerAnswer& one : workers) context.out.line("worker   " + one.worker);
  context.out.text("\n");
  print_queues(context, queues);
  return 0;
}

}  // namespace

extern const Command status_command;
const Command status_command{
    .name = "status",
    .summary = "show the workers that answer and the queues",
    .description =
        "Workers are asked by a broadcast; a worker that does not answer in time is not shown. Python workers answer, "
        "too.",
    .positionals = {},
    .options = {{.names = "--timeout", .metavar = "TIME", .doc = "How long to wait for answers. Default: 1s."}},
    .examples = {{"errand status", ""}},
    .run = status};

}  // namespace errand::cli
