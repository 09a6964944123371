// errand revoke: keep tasks from starting.
#include "cli/context.hpp"
#include "cli/control.hpp"

#include <errand/error.hpp>

namespace errand::cli {

namespace {

constexpr std::chrono::seconds kAnswerTime{1};  // as Celery's control waits

int revoke(Context& context) {
  const std::vector<std::string> ids = context.args.positionals("ID");
  const std::string signal = context.args.value("--signal").value_or("SIGTERM");
  if (signal != "SIGTERM" && signal != "SIGKILL" && signal != "TERM" && signal != "KILL") {
    throw UsageError("--signal: expected SIGTERM or SIGKILL, got " + config::quoted(signal), context.args.command);
  }
  if (context.args.has("--signal") && !context.args.has("--terminate"))
    throw UsageError("--signal: is for --terminate", context.args.command);
  const bool terminate = context.args.has("--terminate");
  const auto broker = context.broker();
  const BrokerTraits traits = broker->traits();
  if (!traits.fanout && (terminate || !traits.keeps_revokes)) {
    throw Error({.kind = ErrorKind::unsupported,
                 .operation = "revoke",
                 .subject = ids.front(),
                 .detail = "expected a broker that reaches running workers, this one has no broadcast"});
  }
  // First written down, for workers that start later or are cut off now; then told, and answered when it is done.
  if (traits.keeps_revokes) broker->revoke(ids);
  Array named(ids.begin(), ids.end());
  const std::vector<WorkerAnswer> answers =
      ask_workers(*broker, "revoke", Object{{"task_id", Value(named)}, {"terminate", terminate}, {"signal", signal}},
                  Deadline::after(kAnswerTime));
  Object workers;
  for (const WorkerAnswer& one : answers) workers.set(one.worker, one.answer);
  context.out.result(Value::object(
      {{"revoked", Value(std::move(named))}, {"kept", traits.keeps_revokes}, {"workers", Value(std::move(workers))}}));
  const std::string what = std::to_string(ids.size()) + (ids.size() == 1 ? " task" : " tasks");
  context.out.line((traits.keeps_revokes ? "revoked " : "told the workers that listen now about ") + what + "; " +
                   std::to_string(answers.size()) + (answers.size() == 1 ? " worker has" : " workers have") +
                   " answered" + (traits.keeps_revokes ? ", those that start later will know" : ""));
  return 0;
}

}  // namespace

extern const Command revoke_command;
const Command revoke_command{
    .name = "revoke",
    .summary = "keep tasks from starting, or stop them where they run",
    .description =
        "The broker remembers the ids (revoke_expires), so that the tasks do not start wherever they wait and "
        "whichever "
        "worker takes them, after restarts as well. Workers that run now, native and Python, are told, and answer when "
        "it "
        "is done. A task that runs goes on unless --terminate: then it is asked to stop, after 5 seconds pressed as by "
        "its soft limit, after 5 more its process is killed; errand result says which of them worked.",
    .positionals = {{"ID", "ids of tasks", true, true}},
    .options = {{.names = "--terminate", .doc = "Also stop the task where it runs."},
                {.names = "--signal",
                 .metavar = "SIGNAL",
                 .doc = "SIGTERM asks the task to stop, SIGKILL kills its process. Default: SIGTERM."}},
    .examples = {{"errand revoke 3f1c2a9e-5f0d-4a6f-9a53-0d1c7a2b8e11 --terminate", ""}},
    .run = revoke};

}  // namespace errand::cli
