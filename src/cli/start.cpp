#include "cli/start.hpp"

#include "commands/command_task.hpp"
#include "commands/process.hpp"
#include "core/failpoint.hpp"
#include "core/file.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

#include <errand/error.hpp>
#include <errand/worker.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace errand::cli {

namespace {

std::vector<QueueSpec> queues_of(const config::Settings& settings) {
  std::vector<std::string> names = settings.list("worker_queues");
  if (names.empty()) names.push_back(settings.text("task_default_queue"));
  std::vector<QueueSpec> out;
  for (const std::string& name : names) {
    const bool twice = std::any_of(out.begin(), out.end(), [&](const QueueSpec& other) { return other.name == name; });
    if (twice) continue;
    const auto known = std::find_if(settings.queues.begin(), settings.queues.end(),
                                    [&](const QueueSpec& spec) { return spec.name == name; });
    out.push_back(known == settings.queues.end() ? QueueSpec{name, "", "direct", ""} : *known);
  }
  return out;
}

ResourceLimits limits_of(const config::Settings& settings) {
  const auto number = [&](std::string_view name) { return static_cast<std::uint64_t>(settings.integer(name)); };
  const auto set = [](auto& limit, std::uint64_t value) {
    using Held = typename std::remove_reference_t<decltype(limit)>::value_type;
    if (value > 0) limit = static_cast<Held>(value);
  };
  ResourceLimits limits;
  set(limits.memory, number("task_memory_limit"));
  set(limits.file_size, number("task_file_size_limit"));
  set(limits.disk, number("task_disk_limit"));
  set(limits.open_files, number("task_open_files_limit"));
  set(limits.processes, number("task_processes_limit"));
  limits.cpu_time = settings.duration("task_cpu_limit");
  return limits;
}

WorkerOptions worker_options(const Context& context) {
  const config::Settings& settings = context.settings;
  WorkerOptions options;
  options.broker_url = settings.text("broker_url");
  options.result_backend_url = settings.text("result_backend");
  options.transport = context.transport();
  options.queues = queues_of(settings);
  options.node_name = settings.text("worker_name");
  options.pool = settings.text("worker_pool");
  options.concurrency = static_cast<std::size_t>(settings.integer("worker_concurrency"));
  if (options.pool == "solo") options.concurrency = 1;
  options.prefetch_multiplier = static_cast<std::size_t>(settings.integer("worker_prefetch_multiplier"));
  options.max_tasks_per_child = static_cast<std::size_t>(settings.integer("worker_max_tasks_per_child"));
  options.max_memory_per_child_kib = static_cast<std::size_t>(settings.integer("worker_max_memory_per_child") / 1'024);
  options.time_limit = settings.duration("task_time_limit");
  options.soft_time_limit = settings.duration("task_soft_time_limit");
  options.limits = limits_of(settings);
  options.result_extended = settings.flag("result_extended");
  options.store_errors_even_if_ignored = settings.flag("task_store_errors_even_if_ignored");
  if (settings.is_set("typed_json")) options.typed_json = settings.flag("typed_json");
  options.max_result_bytes = static_cast<std::size_t>(settings.integer("max_result_size"));
  options.lease = *settings.duration("worker_lease");
  options.grace = *settings.duration("worker_grace");
  options.max_crashes = static_cast<std::uint32_t>(settings.integer("worker_max_crashes"));
  options.max_deliveries = static_cast<std::uint32_t>(settings.integer("worker_max_deliveries"));
  options.hold_unstarted = *settings.duration("worker_hold_unstarted");
  options.max_revoked = static_cast<std::size_t>(settings.integer("worker_max_revoked"));
  options.revoked_for = *settings.duration("worker_revoke_expires");
  options.control = settings.flag("worker_enable_remote_control");
  options.stop_when_idle = context.args.has("--burst");
  if (const auto after = context.args.value("--stop-after")) {
    const auto number = core::parse_number(*after, 1'000'000'000);
    if (!number || *number == 0)
      throw UsageError("--stop-after: expected a number of tasks from 1, got " + config::quoted(*after),
                       context.args.command);
    options.stop_after = static_cast<std::size_t>(*number);
  }
  return options;
}

/// Programs of the configuration that could not be started: said now, not by the first task that fails.
void check_commands(const config::Settings& settings) {
  config::Problems problems;
  for (const config::TaskSection& section : settings.tasks) {
    if (section.command.empty()) continue;
    if (const std::string reason = commands::cannot_run(section.command, section.cwd); !reason.empty()) {
      problems.push_back({section.where, "[tasks." + config::quoted(section.name) + "] command: " + reason});
    }
  }
  if (!problems.empty()) throw config::ConfigError(std::move(problems));
}

// F143: said, not silently run into when the hundredth connection fails.
void check_surroundings(const WorkerOptions& options) {
  constexpr rlim_t kPerSlot = 8, kOthers = 64;
  rlimit files{};
  const rlim_t needed = kOthers + kPerSlot * std::max<rlim_t>(options.concurrency, 4);
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < needed) {
    files.rlim_cur = std::min(needed, files.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < needed) {
      log::warning("worker.limits", "the limit of open files is " + std::to_string(files.rlim_cur) +
                                        ", this worker may need " + std::to_string(needed) +
                                        "; raise it (ulimit -n, LimitNOFILE=) or lower the concurrency");
    }
  }
  if (geteuid() == 0) {
    log::warning("worker.root", "running as root: every task has all rights of this machine; start it as another user");
  }
}

/// F144: the old configuration stays when the new one is broken; what can change without a restart does.
void reload(const config::Sources& sources, const config::Settings& running) {
  try {
    ERRAND_FAILPOINT("reload.parse");
    const config::Settings fresh = config::load(sources);
    check_urls(fresh);
    log::Level level = log::Level::info;
    if (log::parse_level(fresh.text("log_level"), level)) log::set_level(level);
    std::string restart;
    for (const config::Effective& one : fresh.all()) {
      if (one.setting->name == "log_level" || one.value == running.at(one.setting->name).value) continue;
      restart += (restart.empty() ? "" : ", ") + std::string(one.setting->name);
    }
    log::info("config.reloaded",
              "configuration read again" +
                  (restart.empty() ? std::string("; nothing needs a restart") : "; these need a restart: " + restart));
  } catch (const config::ConfigError& error) {
    std::string all;
    for (const config::Problem& one : error.problems()) all += (all.empty() ? "" : "; ") + one.where + ": " + one.text;
    log::limited(log::Level::error, "config.broken", "configuration not changed, the new one has mistakes: " + all);
  } catch (const std::exception& error) {
    log::limited(log::Level::error, "config.broken",
                 std::string("configuration not changed, it could not be read: ") + error.what());
  }
}

// F052, F080: a start that is refused for want of rights, or because the store is of a kind that cannot serve, is a
// mistake of the configuration: a supervisor that starts the worker again and again would not help.
int run_or_refuse(Worker& worker, const bool& ready, const config::Settings& settings) {
  try {
    return worker.run();
  } catch (const Error& error) {
    if (ready || (error.kind() != ErrorKind::denied && error.kind() != ErrorKind::unsupported)) throw;
    const std::string& where =
        error.operation() == "signing" ? settings.signing_where : settings.at("broker_url").origin.where;
    throw config::ConfigError({{where, error.what()}});
  }
}

std::string joined_queues(const WorkerOptions& options) {
  std::string out;
  for (const QueueSpec& queue : options.queues) out += (out.empty() ? "" : ", ") + queue.name;
  return out;
}

}  // namespace

Registry effective_registry(const Registry& own, const config::Settings& settings) {
  Registry out;
  std::vector<std::string_view> names;
  for (const TaskDefinition* task : own.all()) names.push_back(task->name);
  config::Problems problems;
  for (const TaskDefinition* task : own.all()) {
    TaskDefinition copy = *task;
    for (const config::TaskSection& section : settings.tasks) {
      if (section.name != task->name) continue;
      if (!section.command.empty()) {
        problems.push_back(
            {section.where, "[tasks." + config::quoted(section.name) +
                                "] this program brings a task of that name; remove the command or change the name"});
      } else {
        commands::change_options(copy, section);
      }
    }
    out.add(std::move(copy));
  }
  for (const config::TaskSection& section : settings.tasks) {
    if (own.find(section.name) != nullptr) continue;
    if (!section.command.empty()) {
      out.add(commands::command_task(section));
    } else if (!own.empty()) {
      // A program without tasks of its own may share its file with one that has them.
      const auto near = core::nearest_word(section.name, names);
      problems.push_back({section.where, "[tasks." + config::quoted(section.name) +
                                             "] has no command, and this program brings no such task" +
                                             (near.empty() ? "" : "; did you mean " + std::string(near) + "?")});
    }
  }
  if (!problems.empty()) throw config::ConfigError(std::move(problems));
  return out;
}

int run_worker(Context& context) {
  check_commands(context.settings);
  const WorkerOptions options = worker_options(context);
  check_surroundings(options);
  if (context.registry.empty()) {
    log::warning("worker.no_tasks",
                 "this program has no tasks: every message will be dead-lettered as UNKNOWN_TASK; add [tasks.\"name\"] "
                 "command = [...] to " +
                     (context.settings.file.empty() ? std::string("errand.toml") : context.settings.file) +
                     " or link tasks into a program of your own");
  }
  Worker worker(options, context.registry);
  bool ready = false;
  worker.on_ready = [&] {
    ready = true;
    log::info("worker.ready",
              "worker ready: broker " + redact_url(options.broker_url) + ", queues " + joined_queues(options) +
                  ", pool " + options.pool + ", " + std::to_string(context.registry.all().size()) + " tasks",
              {{"queues", joined_queues(options)}, {"pool", options.pool}});
  };
  worker.on_reload = [&] { reload(context.sources, context.settings); };
  const int code = run_or_refuse(worker, ready, context.settings);
  log::info("worker.stopped", code == 0 ? "worker stopped" : "worker stopped with exit code " + std::to_string(code),
            {{"exit_code", code}});
  return code;
}

}  // namespace errand::cli
