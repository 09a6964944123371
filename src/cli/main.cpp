// errand::main: parse, load the configuration, set up the log, run the command, turn errors into words and exit codes.
//
// Nothing here starts a thread or opens a connection before the command runs: a worker's pool forks first.
#include <errand/main.hpp>

#include "cli/arguments.hpp"
#include "cli/context.hpp"
#include "cli/help.hpp"
#include "cli/start.hpp"
#include "core/failpoint.hpp"
#include "core/file.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

#include <errand/error.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace errand {

namespace {

constexpr int kFailed = 1;
constexpr int kUsedWrongly = 2;
constexpr int kConfiguration = 78;  // EX_CONFIG

void complain(const std::string& text) { std::fputs((text + "\n").c_str(), stderr); }

/// One line that no terminal obeys and that holds no secret.
std::string safe(std::string_view text) { return core::escape_controls(log::redact(text)); }

int report_problems(const config::ConfigError& error) {
  for (const config::Problem& one : error.problems()) complain("errand: " + safe(one.where) + ": " + safe(one.text));
  const std::size_t count = error.problems().size();
  complain("errand: wrong configuration, " + std::to_string(count) + (count == 1 ? " mistake" : " mistakes") +
           "; see errand config --help");
  return kConfiguration;
}

int report_usage(const cli::UsageError& error) {
  complain("errand" + (error.command == nullptr ? std::string() : " " + std::string(error.command->name)) + ": " +
           safe(error.what()));
  complain(error.command == nullptr ? "see errand --help"
                                    : "usage: " + cli::usage_of(*error.command) + "\nsee errand " +
                                          std::string(error.command->name) + " --help");
  return kUsedWrongly;
}

/// F142: a log file that cannot be opened is a mistake, unless the journal has the log anyway.
int open_log(const config::Settings& settings) {
  if (!settings.is_set("log_file")) return STDERR_FILENO;
  const std::string path = settings.text("log_file");
  const int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (file >= 0) return file;
  const std::string why = "log_file: " + path + " cannot be written: " + std::strerror(errno) + "; " +
                          core::current_user() +
                          " needs the right to write it (a folder with mode 0750, a file with mode 0640)";
  if (std::getenv("JOURNAL_STREAM") == nullptr)
    throw config::ConfigError({{settings.at("log_file").origin.where, why}});
  log::warning("log.file", why + "; going on with the journal");
  return STDERR_FILENO;
}

void set_up_log(const config::Settings& settings, const std::string& command) {
  log::Settings out;
  log::parse_level(settings.text("log_level"), out.level);
  out.json = settings.flag("log_json");
  const std::string color = settings.text("worker_log_color");
  const int file = open_log(settings);
  out.color = color == "true" || (color == "auto" && file == STDERR_FILENO && cli::error_is_terminal());
  out.file = file;
  if (command == "worker" || command == "up") {
    out.source = "queue";
    out.process = settings.text("worker_name").empty() ? "worker" : settings.text("worker_name");
  }
  log::configure(std::move(out));
}

config::Sources sources_of(const cli::Arguments& args) {
  config::Sources sources;
  sources.file = args.value("--config");
  sources.environment = config::process_environment();
  sources.flags = args.settings;
  return sources;
}

// A misspelt fail point is a wrong setting like any other of the environment.
void arm_failpoints() {
#ifdef ERRAND_FAILPOINTS
  try {
    ERRAND_ARM_FAILPOINTS();
  } catch (const Error& error) {
    throw config::ConfigError({config::Problem{"environment", error.what()}});
  }
#endif
}

int run(const cli::Arguments& args, Registry& registry) {
  arm_failpoints();
  const cli::Command& command = *args.command;
  const config::Sources sources = command.with_config
                                      ? sources_of(args)
                                      : config::Sources{.file = {}, .default_file = "", .environment = {}, .flags = {}};
  const config::Settings settings = config::load(sources);
  if (command.with_config) set_up_log(settings, std::string(command.name));
  if (command.with_broker && command.name != "config") cli::check_urls(settings);
  registry.add_linked();
  const Registry effective = cli::effective_registry(registry, settings);
  cli::Context context(args, sources, settings, effective);
  return command.run(context);
}

}  // namespace

int main(int argc, char** argv, Registry& registry) {
  // Whoever reads our output may go away; that is an error of a write, not the end of the program.
  std::signal(SIGPIPE, SIG_IGN);
  const cli::Command* command = nullptr;
  try {
    const std::vector<std::string> words(argv + 1, argv + std::max(argc, 1));
    const cli::Arguments args = cli::parse_arguments(words);
    command = args.command;
    if (args.help) {
      std::fputs((command == nullptr ? cli::overview() : cli::help_of(*command)).c_str(), stdout);
      return 0;
    }
    if (args.version) {
      std::puts("errand " ERRAND_VERSION);
      return 0;
    }
    return run(args, registry);
  } catch (const cli::UsageError& error) {
    return report_usage(error);
  } catch (const config::ConfigError& error) {
    return report_problems(error);
  } catch (const Error& error) {
    std::string said = error.what();
    const std::string name = command == nullptr ? "" : std::string(command->name);
    if (said.rfind(name + ": ", 0) == 0) said.erase(0, name.size() + 2);  // the operation is the command itself
    complain("errand" + (name.empty() ? name : " " + name) + ": " + safe(said));
    return error.kind() == ErrorKind::invalid ? kUsedWrongly : kFailed;
  } catch (const std::exception& error) {
    complain(std::string("errand: ") + safe(error.what()));
    return kFailed;
  }
}

}  // namespace errand
