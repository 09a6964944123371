// errand queues: what waits where.
#include "cli/queue_rows.hpp"

#include <set>

namespace errand::cli {

std::vector<QueueInfo> all_queues(Context& context, Broker& broker) {
  std::set<std::string> names;
  for (std::string& name : broker.queues()) names.insert(std::move(name));
  for (const QueueSpec& queue : context.settings.queues) names.insert(queue.name);
  for (std::string& name : context.settings.list("worker_queues")) {
    if (name.find('%') == std::string::npos) names.insert(std::move(name));
  }
  std::erase_if(names, [](const std::string& name) { return name.find(".reply.celery.pidbox") != std::string::npos; });
  std::vector<QueueInfo> out;
  for (const std::string& name : names) {
    out.push_back(broker.inspect(name));
    out.back().name = name;
  }
  return out;
}

Value queues_to_json(const std::vector<QueueInfo>& queues) {
  Array out;
  for (const QueueInfo& queue : queues) {
    out.push_back(Value::object(
        {{"name", queue.name},
         {"ready", queue.ready},
         {"parked", queue.parked},
         {"leased", queue.leased},
         {"dead", queue.dead},
         {"oldest_seconds", queue.oldest ? Value(static_cast<double>(queue.oldest->count()) / 1'000.0) : Value()}}));
  }
  return Value(std::move(out));
}

void print_queues(Context& context, const std::vector<QueueInfo>& queues) {
  std::vector<std::vector<std::string>> rows;
  for (const QueueInfo& queue : queues) {
    rows.push_back({queue.name, std::to_string(queue.ready), std::to_string(queue.parked), std::to_string(queue.leased),
                    std::to_string(queue.dead), queue.oldest ? age(*queue.oldest) : "-"});
  }
  if (rows.empty())
    context.out.line("no queue yet: nothing was sent and no worker has come");
  else
    context.out.table({"QUEUE", "READY", "LATER", "RUNNING", "DEAD", "OLDEST"}, rows);
}

namespace {

int queues(Context& context) {
  const auto broker = context.broker();
  const std::vector<QueueInfo> found = all_queues(context, *broker);
  context.out.result(queues_to_json(found));
  print_queues(context, found);
  return 0;
}

}  // namespace

extern const Command queues_command;
const Command queues_command{.name = "queues",
                             .summary = "list queues with what waits, runs and died in them",
                             .description =
                                 "READY is due now, LATER waits for its time, RUNNING is handed out to workers (0 "
                                 "where the broker cannot tell), DEAD could not be run.",
                             .positionals = {},
                             .options = {},
                             .examples = {{"errand queues -b redis://localhost/0 --json", ""}},
                             .run = queues};

}  // namespace errand::cli
