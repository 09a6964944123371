// errand result: what came of a task.
#include "cli/shown_result.hpp"

namespace errand::cli {

namespace {

int result(Context& context) {
  const std::string id = context.args.positional("ID");
  Client client(context.client_options());
  const AsyncResult handle = client.result(id);
  const bool wait = context.args.has("--wait");
  const auto timeout = context.args.value("--timeout");
  if (timeout && !wait) throw UsageError("--timeout: is for --wait", context.args.command);
  const Deadline deadline =
      timeout ? Deadline::after(duration_argument(context, "--timeout", *timeout)) : Deadline::never();
  const bool ready = wait && handle.wait(deadline);
  const int code = show_result(context, id, "", handle.record(), wait && !ready);
  if (context.args.has("--forget")) handle.forget();
  return code;
}

}  // namespace

extern const Command result_command;
const Command result_command{
    .name = "result",
    .summary = "print the state and the result of a task",
    .description =
        "A task that nobody knows is PENDING, as in Celery. The exit code is 1 when the task failed or was revoked.",
    .positionals = {{"ID", "the task's id, as errand send printed it"}},
    .options = {{.names = "-w, --wait", .doc = "Wait until the task has ended."},
                {.names = "--timeout", .metavar = "TIME", .doc = "Wait no longer than this. Default: for ever."},
                {.names = "--forget", .doc = "Delete what is stored, after printing it."}},
    .examples = {{"errand result 3f1c2a9e-5f0d-4a6f-9a53-0d1c7a2b8e11 --wait --timeout 30s", ""}},
    .run = result};

}  // namespace errand::cli
