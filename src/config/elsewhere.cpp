#include "config/setting.hpp"

#include <algorithm>

namespace errand::config {

namespace {

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

// CELERY_TASK_ROUTES, CELERY_ROUTES and task_routes are one name here.
std::string plain_name(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

}  // namespace

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
