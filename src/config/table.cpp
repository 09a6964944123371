#include "config/setting.hpp"

#include <algorithm>

namespace errand::config {

namespace {

constexpr std::int64_t kSecond = 1'000;
constexpr std::int64_t kYear = 366 * 86'400 * kSecond;
constexpr std::int64_t kKiB = 1'024;
constexpr std::int64_t kGiB = kKiB * kKiB * kKiB;

constexpr auto kTable = std::to_array<Setting>({
    {.group = "Broker and results",
     .name = "broker_url",
     .fallback = "sqlite:///errand.db",
     .doc = "Where the queues are: `sqlite:///file.db`, `redis://`, `rediss://`, `redis+socket://`, `memory://name`.",
     .flag = "-b, --broker",
     .metavar = "URL",
     .old = {"BROKER_URL"},
     .environment = "ERRAND_BROKER",
     .secret = true},
    {.group = "Broker and results",
     .name = "broker_url_file",
     .type = Type::path,
     .doc =
         "A file whose first line is the broker's URL, for passwords that must not stand in a command line or in the "
         "environment. Readable by its owner and group only (0640 or tighter).",
     .celery = false},
    {.group = "Broker and results",
     .name = "result_backend",
     .doc = "Where results are kept; a URL as for the broker. Not set: in the broker's own store. `disabled`: nowhere.",
     .flag = "--result-backend",
     .metavar = "URL",
     .old = {"CELERY_RESULT_BACKEND"},
     .secret = true},
    {.group = "Broker and results",
     .name = "result_backend_file",
     .type = Type::path,
     .doc = "A file whose first line is the URL of the result backend; see `broker_url_file`.",
     .celery = false},
    {.group = "Broker and results",
     .name = "result_expires",
     .type = Type::duration,
     .fallback = "1d",
     .doc = "How long results are kept. 0: for ever.",
     .most = 10 * kYear,
     .bare = kSecond,
     .old = {"CELERY_TASK_RESULT_EXPIRES"}},
    {.group = "Broker and results",
     .name = "result_extended",
     .type = Type::boolean,
     .fallback = "true",
     .doc = "Keep the task's name, arguments, worker and queue with the result."},
    {.group = "Broker and results",
     .name = "revoke_expires",
     .type = Type::duration,
     .fallback = "30d",
     .doc =
         "How long the broker remembers a revoked task; one that waits for a later time starts after all. At most the "
         "last 50000 are kept.",
     .least = kSecond,
     .most = kYear,
     .bare = kSecond,
     .celery = false},
    {.group = "Broker and results",
     .name = "max_dead_letters",
     .type = Type::integer,
     .fallback = "100000",
     .doc = "Dead letters of one queue. Beyond it nothing is dropped: what cannot run waits in its queue, comes again "
            "every "
            "minute, and the worker's log says so, until some were requeued or dropped.",
     .least = 1,
     .most = 100'000'000,
     .celery = false},
    {.group = "Broker and results",
     .name = "max_message_size",
     .type = Type::size,
     .fallback = "16MiB",
     .doc = "A larger message is refused before a byte of it is sent.",
     .least = kKiB,
     .most = kGiB,
     .celery = false},
    {.group = "Broker and results",
     .name = "max_result_size",
     .type = Type::size,
     .fallback = "16MiB",
     .doc = "A larger result is stored as the failure RESULT_TOO_LARGE.",
     .least = kKiB,
     .most = kGiB,
     .celery = false},
    {.group = "Broker and results",
     .name = "broker_connection_timeout",
     .type = Type::duration,
     .fallback = "5s",
     .doc = "How long one attempt to connect may take.",
     .least = 10,
     .most = 600 * kSecond,
     .bare = kSecond,
     .old = {"BROKER_CONNECTION_TIMEOUT"}},
    {.group = "Broker and results",
     .name = "publish_timeout",
     .type = Type::duration,
     .fallback = "5s",
     .doc = "Sending fails with a typed error within this time when the broker does not answer.",
     .least = 10,
     .most = 600 * kSecond,
     .bare = kSecond,
     .celery = false},
    {.group = "Broker and results",
     .name = "broker_transport_options.global_keyprefix",
     .doc = "Put before the name of every key, so that several sites share one Redis and no message. The same as in "
            "kombu's transport options.",
     .flag = "--key-prefix",
     .metavar = "PREFIX"},
    {.group = "Broker and results",
     .name = "broker_transport_options.visibility_timeout",
     .type = Type::duration,
     .fallback = "1h",
     .doc =
         "After this long a message that its worker has neither acknowledged nor renewed is given to another. Python "
         "workers of the same Redis must have the same value.",
     .least = kSecond,
     .most = kYear,
     .bare = kSecond},
    {.group = "Broker and results",
     .name = "broker_transport_options.priority_steps",
     .type = Type::integers,
     .fallback = "0,3,6,9",
     .doc = "The priorities that have a list of their own in Redis; kombu's default.",
     .least = 0,
     .most = 255},

    {.group = "Tasks",
     .name = "task_default_queue",
     .type = Type::queue,
     .fallback = "celery",
     .doc = "The queue of tasks that no call, route or definition sends elsewhere; workers without -Q consume it.",
     .old = {"CELERY_DEFAULT_QUEUE"}},
    {.group = "Tasks",
     .name = "task_default_priority",
     .type = Type::integer,
     .doc = "Priority of calls that name none, 0 to 9.",
     .most = 9},
    {.group = "Tasks",
     .name = "task_ignore_result",
     .type = Type::boolean,
     .fallback = "false",
     .doc = "Calls that do not say otherwise keep no result.",
     .old = {"CELERY_IGNORE_RESULT"}},
    {.group = "Tasks",
     .name = "task_store_errors_even_if_ignored",
     .type = Type::boolean,
     .fallback = "false",
     .doc = "Keep failures also of tasks whose result is ignored.",
     .old = {"CELERY_STORE_ERRORS_EVEN_IF_IGNORED"}},
    {.group = "Tasks",
     .name = "task_compression",
     .type = Type::choice,
     .doc = "Compress the arguments in messages.",
     .choices = "gzip|zlib|bzip2|lzma|zstd|brotli",
     .old = {"CELERY_MESSAGE_COMPRESSION"}},
    {.group = "Tasks",
     .name = "task_serializer",
     .type = Type::choice,
     .fallback = "json",
     .doc = "The form of arguments. Only JSON: the others run code when they are read, or need it.",
     .choices = "json",
     .old = {"CELERY_TASK_SERIALIZER"}},
    {.group = "Tasks",
     .name = "task_time_limit",
     .type = Type::duration,
     .doc = "The process of a task that runs longer is killed. For tasks and messages that name no limit.",
     .least = 1,
     .most = kYear,
     .bare = kSecond,
     .flag = "--time-limit",
     .metavar = "TIME",
     .old = {"CELERYD_TASK_TIME_LIMIT"}},
    {.group = "Tasks",
     .name = "task_soft_time_limit",
     .type = Type::duration,
     .doc = "A task that runs longer is asked to stop.",
     .least = 1,
     .most = kYear,
     .bare = kSecond,
     .flag = "--soft-time-limit",
     .metavar = "TIME",
     .old = {"CELERYD_TASK_SOFT_TIME_LIMIT"}},
    {.group = "Tasks",
     .name = "task_memory_limit",
     .type = Type::size,
     .fallback = "0",
     .doc = "A task whose processes together use more memory than this is ended as "
            "ResourceLimitExceeded. For tasks that name no limit of their own; kept by the pool "
            "`prefork`. 0: no limit.",
     .most = 1'024 * kGiB,
     .celery = false},
    {.group = "Tasks",
     .name = "task_cpu_limit",
     .type = Type::duration,
     .doc = "The same for processor time of all its processes together. Not set: no limit.",
     .least = 1,
     .most = kYear,
     .bare = kSecond,
     .celery = false},
    {.group = "Tasks",
     .name = "task_file_size_limit",
     .type = Type::size,
     .fallback = "0",
     .doc = "The same for the largest file it may write. 0: no limit.",
     .most = 1'024 * kGiB,
     .celery = false},
    {.group = "Tasks",
     .name = "task_disk_limit",
     .type = Type::size,
     .fallback = "0",
     .doc = "The same for all that its processes write to disks; memory file systems do not count. 0: "
            "no limit.",
     .most = 1'024 * kGiB,
     .celery = false},
    {.group = "Tasks",
     .name = "task_open_files_limit",
     .type = Type::integer,
     .fallback = "0",
     .doc = "How many descriptors each of its processes may have; opening more fails inside the task. "
            "0: as the worker itself.",
     .most = 1'000'000,
     .celery = false},
    {.group = "Tasks",
     .name = "task_processes_limit",
     .type = Type::integer,
     .fallback = "0",
     .doc = "The same for processes that it has started and that still are there. 0: no limit.",
     .most = 1'000'000,
     .celery = false},
    {.group = "Tasks",
     .name = "typed_json",
     .type = Type::boolean,
     .doc =
         "Send bytes and other typed values as kombu 5.3 and later read them. Not set: on, unless Python may read the "
         "queue.",
     .celery = false},
    {.group = "Tasks",
     .name = "catalogue",
     .type = Type::path,
     .doc = "A file with signatures as `errand tasks --json` prints them; calls by name are checked against it before "
            "they "
            "are sent.",
     .flag = "--catalogue",
     .metavar = "FILE",
     .celery = false},

    {.group = "Worker",
     .name = "worker_queues",
     .type = Type::list,
     .doc = "The queues to consume, and no others. `%h`, `%n` and `%d` stand for host, node and domain. Not set: "
            "`task_default_queue`.",
     .flag = "-Q, --queues",
     .metavar = "QUEUES",
     .celery = false},
    {.group = "Worker",
     .name = "worker_name",
     .doc = "Name of this worker: `w1`, `w1@%h`. Not set: `celery@` and the name of the host.",
     .flag = "-n, --hostname",
     .metavar = "NAME",
     .celery = false},
    {.group = "Worker",
     .name = "worker_pool",
     .type = Type::choice,
     .fallback = "prefork",
     .doc =
         "What runs tasks: `prefork` (child processes: a crash hurts nobody else), `threads` (trusted, short tasks), "
         "`solo` (one after the other in the worker itself, to debug).",
     .choices = "prefork|threads|solo",
     .flag = "-P, --pool",
     .metavar = "POOL",
     .old = {"CELERYD_POOL"}},
    {.group = "Worker",
     .name = "worker_concurrency",
     .type = Type::integer,
     .fallback = "0",
     .doc = "How many tasks run at a time. 0: the number of processors.",
     .most = 4'096,
     .flag = "-c, --concurrency",
     .metavar = "N",
     .old = {"CELERYD_CONCURRENCY"}},
    {.group = "Worker",
     .name = "worker_prefetch_multiplier",
     .type = Type::integer,
     .fallback = "0",
     .doc = "Most messages held for each running task, that one included. 0: as many as keep the pool busy by measured "
            "run time, and none that waits while another worker is free.",
     .most = 10'000,
     .flag = "--prefetch-multiplier",
     .metavar = "N",
     .old = {"CELERYD_PREFETCH_MULTIPLIER"}},
    {.group = "Worker",
     .name = "worker_max_tasks_per_child",
     .type = Type::integer,
     .fallback = "0",
     .doc = "A child process is replaced after so many tasks. 0: never.",
     .most = 1'000'000'000,
     .flag = "--max-tasks-per-child",
     .metavar = "N",
     .old = {"CELERYD_MAX_TASKS_PER_CHILD"}},
    {.group = "Worker",
     .name = "worker_max_memory_per_child",
     .type = Type::size,
     .fallback = "0",
     .doc = "A child process that has grown beyond this is replaced after its task. A bare number is KiB, as in "
            "Celery. 0: "
            "never.",
     .most = 1'024 * kGiB,
     .bare = kKiB,
     .flag = "--max-memory-per-child",
     .metavar = "SIZE",
     .old = {"CELERYD_MAX_MEMORY_PER_CHILD"}},
    {.group = "Worker",
     .name = "worker_lease",
     .type = Type::duration,
     .fallback = "60s",
     .doc = "How long a message stays this worker's without renewal; it is renewed at a third. The messages of a dead "
            "worker "
            "are back in their queues after that.",
     .least = kSecond,
     .most = 86'400 * kSecond,
     .bare = kSecond,
     .flag = "--lease",
     .metavar = "TIME",
     .celery = false},
    {.group = "Worker",
     .name = "worker_grace",
     .type = Type::duration,
     .fallback = "30s",
     .doc = "How long a stop waits for tasks that run.",
     .most = kYear,
     .bare = kSecond,
     .flag = "--grace",
     .metavar = "TIME",
     .celery = false},
    {.group = "Worker",
     .name = "worker_max_crashes",
     .type = Type::integer,
     .fallback = "3",
     .doc = "A message whose attempts have killed their process so often is dead-lettered.",
     .least = 1,
     .most = 1'000,
     .celery = false},
    {.group = "Worker",
     .name = "worker_max_deliveries",
     .type = Type::integer,
     .fallback = "20",
     .doc = "A message handed out so often without an outcome is dead-lettered.",
     .least = 1,
     .most = 100'000,
     .celery = false},
    {.group = "Worker",
     .name = "worker_hold_unstarted",
     .type = Type::duration,
     .fallback = "1s",
     .doc = "A message that has not begun by then is given back to its queue.",
     .least = 10,
     .most = 3'600 * kSecond,
     .bare = kSecond,
     .celery = false},
    {.group = "Worker",
     .name = "worker_max_revoked",
     .type = Type::integer,
     .fallback = "50000",
     .doc = "How many revoked ids a worker remembers; the oldest go first.",
     .least = 1,
     .most = 10'000'000,
     .celery = false},
    {.group = "Worker",
     .name = "worker_revoke_expires",
     .type = Type::duration,
     .fallback = "3h",
     .doc = "How long a worker remembers a revoked id.",
     .least = kSecond,
     .most = kYear,
     .bare = kSecond,
     .celery = false},
    {.group = "Worker",
     .name = "worker_enable_remote_control",
     .type = Type::boolean,
     .fallback = "true",
     .doc = "Listen to `errand revoke`, `errand status` and Celery's `control` and `inspect`, where the broker can "
            "broadcast.",
     .old = {"CELERY_ENABLE_REMOTE_CONTROL"}},

    {.group = "Logs",
     .name = "log_level",
     .type = Type::choice,
     .fallback = "info",
     .doc = "The least important lines that are written.",
     .choices = "debug|info|warning|error|critical|fatal",
     .flag = "-l, --loglevel",
     .metavar = "LEVEL",
     .celery = false},
    {.group = "Logs",
     .name = "log_json",
     .type = Type::boolean,
     .fallback = "false",
     .doc =
         "Write one JSON object a line: timestamp, severity, source, event, message, process, and for tasks task_id, "
         "task_name, queue, retry_number, duration.",
     .flag = "--log-json",
     .environment = "LOG_JSON",
     .celery = false},
    {.group = "Logs",
     .name = "log_file",
     .type = Type::path,
     .doc = "Append to this file (made with mode 0640) instead of standard error.",
     .flag = "-f, --logfile",
     .metavar = "FILE",
     .celery = false},
    {.group = "Logs",
     .name = "worker_log_color",
     .type = Type::choice,
     .fallback = "auto",
     .doc = "Colours in the log: `auto` on a terminal.",
     .choices = "auto|true|false",
     .old = {"CELERYD_LOG_COLOR"}},
});

// What a Celery application may have set and Errand does not read. Saying so at the start is better than a task that
// silently runs under other rules.
constexpr auto kElsewhere = std::to_array<Elsewhere>({
    {"task_routes", "write a [routes] table: \"media.*\" = \"media\""},
    {"task_queues", "write a [queues] table: media = { routing_key = \"media\" }"},
    {"task_annotations", "write [tasks.\"NAME\"] with rate_limit, time_limit, queue, ..."},
    {"task_acks_late",
     "acknowledging late is the default; write acks_late = false under [tasks.\"NAME\"] for the exceptions"},
    {"task_track_started", "write track_started = true under [tasks.\"NAME\"]"},
    {"task_default_rate_limit", "write rate_limit under [tasks.\"NAME\"]"},
    {"task_reject_on_worker_lost", "a lost process is always noticed: see worker_max_crashes"},
    {"task_default_exchange", "write a [queues] table: celery = { exchange = \"...\" }"},
    {"task_default_routing_key", "write a [queues] table: celery = { routing_key = \"...\" }"},
    {"task_create_missing_queues", "queues are always made when they are used"},
    {"task_always_eager", "call the function, or use the pool solo"},
    {"result_serializer", "results are always JSON"},
    {"accept_content", "only JSON is accepted; pickle and yaml run code when they are read"},
    {"result_accept_content", "only JSON is accepted; pickle and yaml run code when they are read"},
    {"timezone", "times travel in UTC with their offset; remove it"},
    {"enable_utc", "times travel in UTC with their offset; remove it"},
    {"imports", "tasks are linked into the program; see errand tasks"},
    {"include", "tasks are linked into the program; see errand tasks"},
    {"beat_schedule", "there is no scheduler in this version"},
    {"worker_send_task_events", "there are no task events in this version"},
    {"task_send_sent_event", "there are no task events in this version"},
    {"worker_proc_alive_timeout", "child processes are supervised without it; remove it"},
    {"worker_disable_rate_limits", "leave out rate_limit under [tasks.\"NAME\"]"},
    {"worker_hijack_root_logger", "remove it; see log_level and log_json"},
    {"worker_log_format", "the format is fixed; see log_json"},
    {"worker_task_log_format", "the format is fixed; see log_json"},
    {"worker_redirect_stdouts", "remove it; what tasks print goes where the worker's output goes"},
    {"broker_heartbeat", "connections are watched without it; remove it"},
    {"broker_pool_limit", "every client has one connection; remove it"},
    {"broker_connection_retry", "workers always reconnect; remove it"},
    {"broker_connection_retry_on_startup", "workers always reconnect; remove it"},
    {"broker_connection_max_retries", "workers always reconnect; remove it"},
    {"redis_max_connections", "every client has one connection; remove it"},
    {"result_backend_transport_options", "the result backend takes broker_transport_options"},
    {"result_chord_join_timeout", "chords are counted, not joined; remove it"},
    {"database_url", "say it in result_backend"},
});

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return out;
}

// CELERY_TASK_ROUTES, CELERY_ROUTES and task_routes are one name here.
std::string plain_name(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

}  // namespace

std::span<const Setting> settings_table() { return kTable; }

std::string environment_name(const Setting& setting) { return "ERRAND_" + upper(setting.name); }

std::vector<std::string> spellings(const Setting& setting) {
  std::vector<std::string> names{std::string(setting.name)};
  const auto add = [&](std::string name) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  };
  for (const std::string_view old : setting.old) add(std::string(old));
  if (setting.celery && setting.name.find('.') == std::string_view::npos) add("CELERY_" + upper(setting.name));
  return names;
}

const Setting* find_setting(std::string_view name) {
  for (const Setting& setting : kTable) {
    if (setting.name == name) return &setting;
  }
  for (const Setting& setting : kTable) {
    const auto names = spellings(setting);
    if (std::find(names.begin(), names.end(), name) != names.end()) return &setting;
  }
  return nullptr;
}

const Elsewhere* find_elsewhere(std::string_view name) {
  const std::string plain = plain_name(name);
  for (const Elsewhere& one : kElsewhere) {
    for (const std::string& spelled : {std::string(one.name), "celery_" + std::string(one.name)}) {
      if (plain == spelled) return &one;
    }
    // The old names lack the first word: CELERY_ROUTES, CELERY_ACKS_LATE.
    const auto first = one.name.find('_');
    if (first != std::string_view::npos && one.name.substr(0, first) == "task" &&
        plain == "celery" + std::string(one.name.substr(first)))
      return &one;
  }
  return nullptr;
}

}  // namespace errand::config
