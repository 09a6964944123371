#include "worker/report.hpp"

#include "core/log.hpp"

#include <sys/wait.h>
#include <csignal>
#include <cstring>
#include <string>

namespace errand::worker {

namespace {
struct Words {
  log::Level level;
  std::string_view event;
  std::string_view verb;
};

Words words(Emit::What what) {
  switch (what) {
    case Emit::What::received:
      return {log::Level::debug, "task.received", "received"};
    case Emit::What::started:
      return {log::Level::debug, "task.started", "started"};
    case Emit::What::succeeded:
      return {log::Level::info, "task.succeeded", "succeeded"};
    case Emit::What::failed:
      return {log::Level::error, "task.failed", "failed"};
    case Emit::What::retried:
      return {log::Level::warning, "task.retried", "will retry"};
    case Emit::What::revoked:
      return {log::Level::info, "task.revoked", "revoked"};
    case Emit::What::rejected:
      return {log::Level::warning, "task.rejected", "rejected"};
    case Emit::What::dead_lettered:
      return {log::Level::error, "task.dead_lettered", "dead-lettered"};
    case Emit::What::returned:
      return {log::Level::debug, "task.returned", "given back"};
    case Emit::What::parked:
      return {log::Level::debug, "task.parked", "parked"};
    case Emit::What::lost:
      return {log::Level::error, "task.lost", "lost its process"};
    case Emit::What::lease_lost:
      return {log::Level::warning, "task.lease_lost", "is somebody else's by now"};
    case Emit::What::repeated:
      return {log::Level::info, "task.repeated", "had ended before"};
    case Emit::What::abandoned:
      return {log::Level::error, "task.abandoned", "left behind"};
  }
  return {log::Level::info, "task", ""};
}
}  // namespace

bool is_reported(Emit::What what) noexcept { return log::enabled(words(what).level); }

void report(const Emit& event) {
  const Words said = words(event.what);
  if (!log::enabled(said.level)) return;
  std::string message = "task " + (event.task.empty() ? std::string("?") : event.task) + "[" + event.id +
                        "] (queue: " + event.queue + ") " + std::string(said.verb);
  const double seconds = std::chrono::duration<double>(event.duration).count();
  const bool ended = event.what == Emit::What::succeeded || event.what == Emit::What::failed ||
                     event.what == Emit::What::retried || event.what == Emit::What::lost ||
                     event.what == Emit::What::rejected;
  if (ended) {
    char text[32];
    std::snprintf(text, sizeof text, " after %.4fs", seconds);
    message += event.what == Emit::What::succeeded ? std::string(" in") + (text + 6) : std::string(text);
  }
  if (!event.detail.empty()) message += ": " + event.detail;
  log::Fields fields{
      {"task_id", event.id}, {"task_name", event.task}, {"queue", event.queue}, {"retry_number", event.retries}};
  if (ended) fields.emplace_back("duration", seconds);
  if (!event.detail.empty()) fields.emplace_back("detail", event.detail);
  log::write(said.level, said.event, message, fields);
}

void report_process_end(int pid, int status, std::string_view task_id, std::string_view task) {
  log::Fields fields{{"child_pid", pid}, {"task_id", task_id}, {"task_name", task}};
  std::string message = "process " + std::to_string(pid);
  const bool signalled = WIFSIGNALED(status);
  if (signalled) {
    const char* name = sigabbrev_np(WTERMSIG(status));
    const std::string signal = name == nullptr ? std::to_string(WTERMSIG(status)) : std::string("SIG") + name;
    fields.emplace_back("signal", signal);
    message += " ended by signal " + signal;
  } else {
    fields.emplace_back("exit_status", WEXITSTATUS(status));
    message += " ended with exit status " + std::to_string(WEXITSTATUS(status));
  }
  if (!task_id.empty()) message += " while running " + std::string(task) + "[" + std::string(task_id) + "]";
  const bool quiet = task_id.empty() && !signalled && WEXITSTATUS(status) == 0;
  log::write(quiet ? log::Level::info : log::Level::error, "process.ended", message, fields);
}

}  // namespace errand::worker
