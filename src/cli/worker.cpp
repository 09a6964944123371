// errand worker: run tasks.
#include "cli/start.hpp"

namespace errand::cli {

namespace {
int worker(Context& context) { return run_worker(context); }
}  // namespace

extern const Command worker_command;
const Command worker_command{
    .name = "worker",
    .summary = "run tasks from queues until told to stop",
    .description =
        "SIGTERM or Ctrl-C stops warmly: nothing more is fetched, what has not begun goes back, what runs may finish "
        "(--grace). A second one asks running "
        "tasks to stop, a third one (or SIGQUIT) kills them and gives their messages back. SIGHUP reads the "
        "configuration again.",
    .positionals = {},
    .options = {{.setting = "worker_queues"},
                {.setting = "worker_concurrency"},
                {.setting = "worker_pool"},
                {.setting = "worker_name"},
                {.setting = "worker_prefetch_multiplier"},
                {.setting = "worker_max_tasks_per_child"},
                {.setting = "worker_max_memory_per_child"},
                {.setting = "task_time_limit"},
                {.setting = "task_soft_time_limit"},
                {.setting = "worker_lease"},
                {.setting = "worker_grace"},
                {.names = "--burst", .doc = "Stop when nothing is ready, waiting for its time or running."},
                {.names = "--stop-after", .metavar = "N", .doc = "Stop warmly after N messages."},
                {.setting = "log_file"},
                {.names = "-E, --task-events", .doc = "Accepted for Celery's sake, without effect."},
                {.names = "-O",
                 .metavar = "PROFILE",
                 .doc = "Accepted for Celery's sake, without effect: scheduling is always fair."},
                {.names = "--without-gossip", .doc = "Accepted for Celery's sake, without effect."},
                {.names = "--without-mingle", .doc = "Accepted for Celery's sake, without effect."},
                {.names = "--without-heartbeat", .doc = "Accepted for Celery's sake, without effect."}},
    .examples = {{"errand worker -Q media,celery -c 4 -n w1@%h",
                  "consumes two queues and no others, runs four tasks at a time"},
                 {"errand worker -b redis://localhost/0 -l warning --log-json",
                  "beside Python workers on the same Redis"}},
    .run = worker};

}  // namespace errand::cli
