#include "config/load.hpp"

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace errand;
using namespace errand::config;

namespace {

/// A folder of its own, gone at the end.
struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "errand-config-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0640) const {
    const std::string file = path + "/" + name;
    std::ofstream(file) << text;
    chmod(file.c_str(), mode);
    return file;
  }
  std::string path;
};

/// Every mistake as "where: text", with the folder's name taken out.
std::vector<std::string> mistakes(const Folder& folder, const Sources& sources) {
  std::vector<std::string> out;
  try {
    static_cast<void>(load(sources));
  } catch (const ConfigError& error) {
    for (const Problem& one : error.problems()) {
      std::string line = one.where + ": " + one.text;
      for (auto at = line.find(folder.path + "/"); at != std::string::npos; at = line.find(folder.path + "/"))
        line.erase(at, folder.path.size() + 1);
      out.push_back(line);
    }
  }
  return out;
}

std::vector<std::string> of_file(const std::string& text, mode_t mode = 0640) {
  const Folder folder;
  return mistakes(folder, Sources{.file = folder.write("e.toml", text, mode)});
}

Settings good_file(const std::string& text, Sources sources = {}) {
  const Folder folder;
  sources.file = folder.write("e.toml", text);
  return load(sources);
}

}  // namespace

// The corpus of F140: each with the whole message, because the message is what the user has.
TEST_CASE("F140: every mistake in a file names key, line, what was expected and what came") {
  const std::vector<std::pair<std::string, std::string>> table{
      {"worker_concurency = 4", "e.toml:1: unknown setting \"worker_concurency\"; did you mean worker_concurrency?"},
      {"\n\nCELERY_DEFALT_QUEUE = 'x'",
       "e.toml:3: unknown setting \"CELERY_DEFALT_QUEUE\"; did you mean CELERY_DEFAULT_QUEUE?"},
      {"zebra = 1", "e.toml:1: unknown setting \"zebra\""},
      {"[rotues]\n'a' = 'b'", "e.toml:1: unknown table \"rotues\"; did you mean routes?"},
      {"routes = 5", "e.toml:1: routes: expected a table, got integer 5"},
      {"[worker_concurrency]\nx = 1", "e.toml:1: worker_concurrency: expected an integer from 0 to 4096, got a table"},
      {"worker_concurrency = 'four'",
       "e.toml:1: worker_concurrency: expected an integer from 0 to 4096, got text \"four\""},
      {"worker_concurrency = 4.5", "e.toml:1: worker_concurrency: expected an integer from 0 to 4096, got float 4.5"},
      {"worker_concurrency = -1", "e.toml:1: worker_concurrency: expected an integer from 0 to 4096, got integer -1"},
      {"worker_concurrency = 100000",
       "e.toml:1: worker_concurrency: expected an integer from 0 to 4096, got integer 100000"},
      {"result_extended = 1", "e.toml:1: result_extended: expected true or false, got integer 1"},
      {"worker_lease = '60x'",
       "e.toml:1: worker_lease: expected a duration from 1s to 1d (\"90s\", \"5min\"; a bare number is seconds), got "
       "\"60x\""},
      {"worker_lease = 0.5",
       "e.toml:1: worker_lease: expected a duration from 1s to 1d (\"90s\", \"5min\"; a bare number is seconds), got "
       "float 0.5"},
      {"worker_lease = nan",
       "e.toml:1: worker_lease: expected a duration from 1s to 1d (\"90s\", \"5min\"; a bare number is seconds), got "
       "float NaN"},
      {"max_message_size = '16 megs'",
       "e.toml:1: max_message_size: expected a size from 1KiB to 1GiB (\"64KiB\", \"16MiB\"), got \"16 megs\""},
      {"worker_pool = 'perfork'",
       "e.toml:1: worker_pool: expected one of prefork, threads, solo, got \"perfork\"; did you mean prefork?"},
      {"worker_pool = 'gevent'", "e.toml:1: worker_pool: expected one of prefork, threads, solo, got \"gevent\""},
      {"task_serializer = 'pickle'", "e.toml:1: task_serializer: expected json, got \"pickle\""},
      {"task_default_queue = \"a\\nb\"",
       "e.toml:1: task_default_queue: expected the name of a queue without control characters, got \"a\\nb\""},
      {"task_default_queue = ''", "e.toml:1: task_default_queue: expected the name of a queue, got nothing"},
      {"worker_queues = ['a', 1]", "e.toml:1: worker_queues: expected a list of names, got an array with integer 1"},
      {"worker_lease = 1979-05-27",
       "e.toml:1: worker_lease: expected a duration from 1s to 1d (\"90s\", \"5min\"; a bare number is seconds), got "
       "\"1979-05-27\""},
      {"task_default_queue = 'a'\nCELERY_DEFAULT_QUEUE = 'b'",
       "e.toml:2: CELERY_DEFAULT_QUEUE is set twice, also at e.toml:1; keep one"},
      {"task_time_limit = 5\ntask_soft_time_limit = '1min'",
       "e.toml:2: task_soft_time_limit: expected at most task_time_limit (5s, e.toml:1), got 1min; it would never be "
       "reached"},
      {"worker_pool = 'solo'\nworker_concurrency = 4",
       "e.toml:2: worker_concurrency: the pool solo (e.toml:1) runs one task at a time, got 4; use the pool threads or "
       "prefork"},
      {"CELERY_ACKS_LATE = true",
       "e.toml:1: the setting \"CELERY_ACKS_LATE\" of Celery does not exist here: acknowledging late is the default; "
       "write acks_late = false under "
       "[tasks.\"NAME\"] for the exceptions"},
      {"accept_content = ['pickle']",
       "e.toml:1: the setting \"accept_content\" of Celery does not exist here: only JSON is accepted; pickle and yaml "
       "run code when they are read"},
      {"[broker_transport_options]\nvisibilty_timeout = 5",
       "e.toml:2: unknown setting \"broker_transport_options.visibilty_timeout\"; did you mean visibility_timeout?"},
      {"[tasks.'a.b']\ncomand = ['x']", "e.toml:2: [tasks.\"a.b\"] unknown key \"comand\"; did you mean command?"},
      {"[tasks.'a.b']\ncommand = 'x'",
       "e.toml:2: [tasks.\"a.b\"] command: expected an array of text, the program and its arguments, got text \"x\""},
      {"[tasks.'a.b']\ncommand = []",
       "e.toml:2: [tasks.\"a.b\"] command: expected an array of text, the program and its arguments, got an array"},
      {"[tasks.'a.b']\ncommand = ['x']\nretry = 'sometimes'", ""},
      {"[tasks.'a.b']\ncommand = ['x']\nrate_limit = 'fast'", ""},
      {"[tasks.'a.b']\ncommand = ['x']\nparameters = [{ name = 'p', type = 'int' }]",
       "e.toml:3: [tasks.\"a.b\"] parameters: expected the type text, integer, float, bool, list, object or any, got "
       "\"int\""},
      {"[tasks.'a.b']\ncommand = ['x']\nparameters = ['p', 'p']",
       "e.toml:3: [tasks.\"a.b\"] parameters: the parameter \"p\" stands there twice"},
      {"[tasks.'a.b']\ncwd = 'x'",
       "e.toml:2: [tasks.\"a.b\"] cwd is for tasks with a command; add command = [\"program\"]"},
      {"[tasks.a.b]\ncommand = ['x']", "e.toml:1: [tasks.a.b]: a name with dots needs quotes; write [tasks.\"a.b\"]"},
      {"[routes]\n'a.*' = { quue = 'x' }", "e.toml:2: [routes] \"a.*\" unknown key \"quue\"; did you mean queue?"},
      {"[queues]\nmedia = { exchange_type = 'headers' }",
       "e.toml:2: [queues.\"media\"] exchange_type: expected one of direct, topic, fanout, got \"headers\""},
  };
  for (const auto& [text, expected] : table) {
    CAPTURE(text);
    const auto found = of_file(text);
    REQUIRE(found.size() == 1);
    if (expected.empty()) {
      // The reason is the task options' own; the place is ours.
      CHECK(found[0].rfind("e.toml:3: [tasks.\"a.b\"] r", 0) == 0);
    } else {
      CHECK(found[0] == expected);
    }
  }
}

// Rules that nobody looks at would be believed to hold.
TEST_CASE("F124: rules about who may send a task need a policy that asks for signatures") {
  const std::string allow = "[signing]\ntrusted = { ops = \"ops.pub\" }\nallow = { \"pay.*\" = [\"ops\"] }\n";
  CHECK(of_file(allow) ==
        std::vector<std::string>{"e.toml:1: [signing] expected a policy of accept or require beside allow, got off: no "
                                 "rule would be looked at"});
  CHECK(of_file(allow + "policy = \"accept\"\n").empty());
  CHECK(of_file(allow + "queues = { pay = \"require\" }\n").empty());
}

TEST_CASE("F140: a file that is no TOML is said with its line, and all mistakes are said at once") {
  const auto broken = of_file("a = 1\nb = [");
  REQUIRE(broken.size() == 1);
  CHECK(broken[0].rfind("e.toml:2: is no TOML: ", 0) == 0);
  Folder folder;
  const auto all =
      mistakes(folder, Sources{.file = folder.write("e.toml", "zebra = 1\nworker_pool = 'x'\n[routes]\n'a' = 5\n"),
                               .environment = {{"ERRAND_LOG_LEVEL", "loud"}},
                               .flags = {{"worker_concurrency", "-c", "many"}}});
  REQUIRE(all.size() == 5);
  CHECK(all[3] ==
        "environment ERRAND_LOG_LEVEL: log_level: expected one of debug, info, warning, error, critical, fatal, got "
        "\"loud\"");
  CHECK(all[4] == "-c: worker_concurrency: expected an integer from 0 to 4096, got \"many\"");
}

TEST_CASE("F140: a misspelt variable is a mistake, a stranger's is not, and two that disagree are") {
  const Folder folder;
  const Sources misspelt{.default_file = "", .environment = {{"ERRAND_BROKER_ULR", "x"}}};
  CHECK(mistakes(folder, misspelt) ==
        std::vector<std::string>{"environment ERRAND_BROKER_ULR: unknown variable; did you mean ERRAND_BROKER_URL?"});
  const Sources stranger{.default_file = "",
                         .environment = {{"ERRAND_PROGRAM", "x"}, {"ERRAND_BUILD_DIR", "y"}, {"ERRAND_JOBS", "2"}}};
  CHECK(mistakes(folder, stranger).empty());
  const Sources clash{.default_file = "",
                      .environment = {{"ERRAND_BROKER_URL", "sqlite:///a.db"}, {"ERRAND_BROKER", "sqlite:///b.db"}}};
  CHECK(mistakes(folder, clash).size() == 1);
}

TEST_CASE("AT-36: Celery's new and old spellings are the same setting") {
  const std::vector<std::pair<std::string, std::string>> spellings{
      {"task_default_queue = 'site-a'", "task_default_queue"},
      {"CELERY_DEFAULT_QUEUE = 'site-a'", "task_default_queue"},
      {"CELERY_TASK_DEFAULT_QUEUE = 'site-a'", "task_default_queue"},
      {"[BROKER_TRANSPORT_OPTIONS]\nglobal_keyprefix = 'site-a'", "broker_transport_options.global_keyprefix"},
  };
  for (const auto& [text, name] : spellings) {
    CAPTURE(text);
    CHECK(good_file(text).text(name) == "site-a");
  }
  CHECK(good_file("CELERYD_CONCURRENCY = 7").integer("worker_concurrency") == 7);
  CHECK(good_file("CELERYD_TASK_TIME_LIMIT = 90").duration("task_time_limit") == Milliseconds{90'000});
  CHECK(good_file("CELERYD_MAX_MEMORY_PER_CHILD = 12000").integer("worker_max_memory_per_child") == 12'000 * 1'024);
}

TEST_CASE("flags win over the environment, the environment over the file, the file over defaults") {
  Sources sources;
  CHECK(good_file("", sources).at("worker_concurrency").origin.where == "default");
  CHECK(good_file("worker_concurrency = 1", sources).integer("worker_concurrency") == 1);
  sources.environment["ERRAND_WORKER_CONCURRENCY"] = "2";
  CHECK(good_file("worker_concurrency = 1", sources).at("worker_concurrency").origin.where ==
        "environment ERRAND_WORKER_CONCURRENCY");
  sources.flags.push_back({"worker_concurrency", "-c", "3"});
  const Settings settings = good_file("worker_concurrency = 1", sources);
  CHECK(settings.integer("worker_concurrency") == 3);
  CHECK(settings.at("worker_concurrency").origin.where == "-c");
  sources.environment["ERRAND_WORKER_CONCURRENCY"] = "";
  sources.flags.clear();
  CHECK(good_file("worker_concurrency = 1", sources).integer("worker_concurrency") == 1);
}

TEST_CASE("without any file there are only defaults, and a named file must be there") {
  const Folder folder;
  CHECK(load(Sources{.default_file = folder.path + "/none.toml"}).text("broker_url") == "sqlite:///errand.db");
  const auto missing = mistakes(folder, Sources{.file = folder.path + "/none.toml"});
  REQUIRE(missing.size() == 1);
  CHECK(missing[0] == "none.toml: cannot be read: No such file or directory; check the path");
  const auto directory = mistakes(folder, Sources{.file = folder.path});
  REQUIRE(directory.size() == 1);
  CHECK(directory[0].find("it is a directory") != std::string::npos);
}

TEST_CASE("F141: a file with a secret that others may read is refused, and the secret is not shown") {
  for (const mode_t mode : {mode_t{0644}, mode_t{0666}, mode_t{0660}, mode_t{0604}}) {
    CAPTURE(mode);
    const auto found = of_file("broker_url = 'redis://:CANARY@h/0'", mode);
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("expected 0640 or tighter: chmod 640") != std::string::npos);
    CHECK(found[0].find("CANARY") == std::string::npos);
  }
  CHECK(of_file("broker_url = 'redis://:CANARY@h/0'", 0640).empty());
  CHECK(of_file("broker_url = 'redis://h/0'", 0644).empty());
  CHECK(of_file("[tasks.'a']\ncommand = ['x']\nenvironment = { API_TOKEN = 'CANARY' }", 0644).size() == 1);
}

TEST_CASE("F141: the URL may stand in a file of its own") {
  const Folder folder;
  Sources sources{.default_file = ""};
  sources.environment["ERRAND_BROKER_URL_FILE"] = folder.write("broker", "redis://:CANARY@h/3\n", 0600);
  const Settings settings = load(sources);
  CHECK(settings.text("broker_url") == "redis://:CANARY@h/3");
  const Effective& one = settings.at("broker_url");
  CHECK(show(*one.setting, one.value) == "redis://:********@h/3");

  sources.environment["ERRAND_BROKER_URL_FILE"] = folder.write("open", "redis://h/3\n", 0644);
  CHECK(mistakes(folder, sources).at(0).find("expected 0640 or tighter") != std::string::npos);
  sources.environment["ERRAND_BROKER_URL_FILE"] = folder.path + "/none";
  CHECK(mistakes(folder, sources).at(0).find("none cannot be read") != std::string::npos);
  sources.environment["ERRAND_BROKER_URL_FILE"] = folder.write("empty", "\n", 0600);
  CHECK(mistakes(folder, sources).at(0).find("expected a URL in its first line") != std::string::npos);
  sources.environment["ERRAND_BROKER_URL"] = "redis://other";
  CHECK(mistakes(folder, sources).at(0).find("conflicts with broker_url") != std::string::npos);
}

TEST_CASE("tasks, routes and queues are read with everything they may say") {
  const Settings settings = good_file(R"(
[tasks."media.convert"]
command = ["./convert.sh", "--fast"]
parameters = ["path", { name = "width", type = "integer", default = 200 }, { name = "key", default = "", secret = true }]
environment = { LANG = "C" }
cwd = "media"
queue = "media"
retry = "exp(1s, 10min) x5"
soft_time_limit = "1min"
time_limit = 90
rate_limit = "10/m"
priority = 3
ignore_result = true
[routes]
"z.*" = "first"
"a.*" = { queue = "second", priority = 9 }
[queues]
media = {}
site = { exchange = "site", exchange_type = "topic", routing_key = "site.#" }
)");
  REQUIRE(settings.tasks.size() == 1);
  const TaskSection& task = settings.tasks[0];
  CHECK(task.command == std::vector<std::string>{"./convert.sh", "--fast"});
  REQUIRE(task.parameters->size() == 3);
  CHECK((*task.parameters)[1].fallback == Value(200));
  CHECK((*task.parameters)[2].secret);
  CHECK(task.retry->max_retries == 5u);
  CHECK(task.time_limit == Milliseconds{90'000});
  CHECK(task.rate_limit->tasks == 10);
  CHECK(task.ignore_result == true);
  CHECK_FALSE(task.acks_late.has_value());
  REQUIRE(settings.routes.size() == 2);
  CHECK(settings.routes[0].queue == "first");
  CHECK(settings.routes[1].priority == 9);
  REQUIRE(settings.queues.size() == 2);
  CHECK(settings.queues[1].exchange_type == "topic");
}
