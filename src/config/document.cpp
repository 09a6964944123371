#include "config/document.hpp"

#include "config/convert.hpp"
#include "config/sections.hpp"
#include "config/signing_section.hpp"

namespace errand::config {

namespace {

std::string shown_default(const Setting& setting) {
  return setting.fallback.empty() ? "not set" : "`" + show(setting, fallback(setting)) + "`";
}

std::string one_setting(const Setting& setting) {
  std::string out = "### " + std::string(setting.name) + "\n" + std::string(setting.doc) + "\n\n";
  out += "Expects " + expectation(setting) + ". Default: " + shown_default(setting) + ".  \n";
  if (!setting.flag.empty())
    out += "Flag `" + std::string(setting.flag) + (setting.metavar.empty() ? "" : " " + std::string(setting.metavar)) +
           "`, variable ";
  else
    out += "Variable ";
  out += "`" + environment_name(setting) + "`";
  if (!setting.environment.empty()) out += " or `" + std::string(setting.environment) + "`";
  const auto names = spellings(setting);
  if (names.size() > 1) {
    out += "; in the file also";
    for (std::size_t i = 1; i < names.size(); ++i) out += (i == 1 ? " `" : ", `") + names[i] + "`";
  }
  return out + ".\n\n";
}

std::string rows(const std::vector<TableKey>& keys) {
  std::string out;
  for (const TableKey& key : keys) {
    out += "| `" + std::string(key.name) + "` | " + std::string(key.expects) + " | " + std::string(key.doc) + " |\n";
  }
  return out;
}

}  // namespace

std::string configuration_markdown() {
  std::string out =
      "# Configuration\n\n"
      "Written by `errand config --markdown` from the table in `src/config/table.cpp`; edit that.\n\n"
      "A value is taken from the first of: a flag of the command line, an environment variable, the file, the default. "
      "The\n"
      "file is the one of `--config FILE`, else `errand.toml` in the current directory if it is there. Every mistake "
      "is\n"
      "reported at once, with file and line and the nearest valid name, and the program ends with exit code 78.\n"
      "`errand config` prints what is in force and where each value comes from; `errand config --diff` what differs "
      "from\n"
      "the defaults.\n\n"
      "The file is TOML. Names are Celery's lower-case names where Celery has the setting; the upper-case names of "
      "older\n"
      "versions and of Django settings are accepted, too. A setting that is neither Celery's nor Errand's is a "
      "mistake,\n"
      "and so is one that Celery has and Errand has not. A file that holds a password must have mode 0640 or "
      "tighter.\n\n"
      "```toml\n"
      "broker_url = \"redis://localhost/0\"\n"
      "task_default_queue = \"shop\"\n"
      "task_time_limit = \"5min\"\n\n"
      "[routes]\n"
      "\"media.*\" = \"media\"\n\n"
      "[tasks.\"media.convert\"]\n"
      "command = [\"./convert.sh\", \"--fast\"]\n"
      "parameters = [\"path\", { name = \"width\", type = \"integer\", default = 200 }]\n"
      "retry = \"exp(1s, 10min) x5 jitter\"\n"
      "soft_time_limit = \"1min\"\n"
      "```\n";
  std::string_view group;
  for (const Setting& setting : settings_table()) {
    if (setting.group != group) {
      group = setting.group;
      out += "\n## " + std::string(group) + "\n\n";
    }
    out += one_setting(setting);
  }
  out +=
      "## Tables of the file\n\n"
      "### [tasks.\"NAME\"]\n"
      "With `command`: a task that is a program. It gets one JSON object on standard input (`id`, `task`, `args`, "
      "`kwargs`,\n"
      "`retries`, `queue`, `headers`, ...) and answers with JSON on standard output (nothing at all is null). Lines on "
      "standard\n"
      "error go to the task's log. Exit code 0 is success, 75 asks for a retry, any other is a failure whose text are "
      "the\n"
      "last lines of standard error. At the soft limit its process group gets SIGTERM, at the hard limit SIGKILL.\n\n"
      "| key | expects | meaning |\n| --- | --- | --- |\n";
  out += rows(task_keys());
  out +=
      "\n### [routes]\n"
      "Where calls go that name no queue: `\"media.*\" = \"media\"` or `\"media.*\" = { queue = \"media\", priority = "
      "5 }`. The first\n"
      "pattern that matches wins; `*` stands for any text.\n\n"
      "### [queues]\n"
      "Queues that are bound otherwise than by their own name: `media = { exchange = \"site\", exchange_type = "
      "\"topic\",\n"
      "routing_key = \"media.#\" }`. Types are `direct`, `topic` and `fanout`.\n\n"
      "### [signing]\n"
      "Who may send what, proved by every message itself: see `docs/signing.md`.\n\n"
      "| key | expects | meaning |\n| --- | --- | --- |\n";
  out += rows(signing_keys());
  return out;
}

}  // namespace errand::config
