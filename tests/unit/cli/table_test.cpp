#include "cli/arguments.hpp"
#include "cli/help.hpp"
#include "config/setting.hpp"
#include "support/source_dir.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

using namespace errand;
using namespace errand::cli;

TEST_CASE("every command says what it does, shows an example and has options of its own names") {
  for (const Command* command : commands()) {
    CAPTURE(command->name);
    CHECK((command->run != nullptr));
    CHECK_FALSE(command->summary.empty());
    CHECK(command->summary.back() != '.');
    REQUIRE_FALSE(command->examples.empty());
    for (const Example& one : command->examples)
      CHECK(one.line.find("errand " + std::string(command->name)) != std::string_view::npos);
    const std::string help = help_of(*command);
    std::set<std::string_view> names;
    for (const Option& option : options_of(*command)) {
      CAPTURE(option.setting);
      if (!option.setting.empty()) REQUIRE(config::find_setting(option.setting) != nullptr);
      CHECK(shown(option).doc.size() > 5);
      for (const std::string_view name : split_names(shown(option).names)) {
        CAPTURE(name);
        CHECK(names.insert(name).second);
        CHECK(name.front() == '-');
        if (command->with_broker) CHECK(help.find(name) != std::string::npos);
      }
    }
    for (const char* everywhere :
         {"--help", "--json", "--config", "-b", "--broker", "--result-backend", "-l", "--log-json"}) {
      CHECK(names.count(everywhere) == 1);
    }
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) CHECK_MESSAGE(line.size() <= 110, line);
  }
}

// The flags that people type after `celery worker`.
TEST_CASE("the worker takes Celery's flags") {
  const std::vector<std::string> words{"worker",
                                       "-Q",
                                       "a,b",
                                       "-c4",
                                       "-P",
                                       "solo",
                                       "-n",
                                       "w%i@%h",
                                       "-l",
                                       "WARNING",
                                       "-E",
                                       "-O",
                                       "fair",
                                       "--prefetch-multiplier=1",
                                       "--max-tasks-per-child",
                                       "9",
                                       "--max-memory-per-child=12000",
                                       "--time-limit",
                                       "5",
                                       "--soft-time-limit=4",
                                       "--without-gossip",
                                       "--without-mingle",
                                       "--without-heartbeat"};
  const Arguments args = parse_arguments(words);
  std::set<std::string> settings;
  for (const config::FlagValue& one : args.settings) settings.insert(one.setting + "=" + one.text);
  CHECK(settings == std::set<std::string>{"worker_queues=a,b", "worker_concurrency=4", "worker_pool=solo",
                                          "worker_name=w%i@%h", "log_level=WARNING", "worker_prefetch_multiplier=1",
                                          "worker_max_tasks_per_child=9", "worker_max_memory_per_child=12000",
                                          "task_time_limit=5", "task_soft_time_limit=4"});
}

TEST_CASE("words find their places in any order") {
  const std::vector<std::string> words{"-b",     "redis://h", "send",         "a.b",     "--header", "x=1",
                                       "--wait", "[1]",       "--header=y=2", "--queue", "q"};
  const Arguments args = parse_arguments(words);
  REQUIRE(args.command != nullptr);
  CHECK(args.command->name == "send");
  CHECK(args.positional("NAME") == "a.b");
  CHECK(args.positional("ARGS") == "[1]");
  CHECK(args.values("--header") == std::vector<std::string>{"x=1", "y=2"});
  CHECK(args.has("--wait"));
  CHECK(args.value("--queue") == "q");
  CHECK_FALSE(args.value("--id").has_value());
  CHECK(args.settings.size() == 1);

  const std::vector<std::string> after_dashes{"send", "a", "--", "--wait"};
  CHECK(parse_arguments(after_dashes).positional("ARGS") == "--wait");
  const std::vector<std::string> number{"send", "a", "-5"};
  CHECK(parse_arguments(number).positional("ARGS") == "-5");
  const std::vector<std::string> input{"send", "a", "-"};
  CHECK(parse_arguments(input).positional("ARGS") == "-");
  const std::vector<std::string> twice{"dead", "requeue", "q", "1", "2", "--all"};
  CHECK(parse_arguments(twice).positionals("ID") == std::vector<std::string>{"1", "2"});
  const std::vector<std::string> help{"help", "dead", "list"};
  CHECK(parse_arguments(help).help);
  CHECK(parse_arguments(help).command->name == "dead list");
  const std::vector<std::string> again{"worker", "-c", "1", "-c", "2"};
  CHECK(parse_arguments(again).settings.size() == 1);
  CHECK(parse_arguments(again).settings[0].text == "2");
}

TEST_CASE("what is no command line is refused with the nearest known word") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> table{
      {{}, "expected a command"},
      {{"wroker"}, "unknown command \"wroker\"; did you mean worker?"},
      {{"dead"}, "errand dead is followed by one of list, show, requeue, drop"},
      {{"dead", "lst"}, "unknown command \"dead lst\"; expected errand dead with one of list, show, requeue, drop"},
      {{"send"}, "expected NAME (the task's name), got nothing"},
      {{"send", "a", "b", "c"}, "unexpected \"c\"; quote a value that has blanks"},
      {{"status", "x"}, "unexpected \"x\"; this command takes only options"},
      {{"send", "a", "--wiat"}, "unknown option \"--wiat\"; did you mean --wait?"},
      {{"send", "a", "--wait=5"}, "the option --wait takes no value, got \"5\""},
      {{"send", "a", "--queue"}, "the option --queue expects QUEUE, got nothing"},
      {{"send", "a", "-Z"}, "unknown option \"-Z\""},
      {{"--wait", "send", "a"}, "unknown option \"--wait\""},
      {{"worker\n"}, "unknown command \"worker\\n\"; did you mean worker?"},
  };
  for (const auto& [words, expected] : table) {
    CAPTURE(expected);
    std::string got;
    try {
      static_cast<void>(parse_arguments(words));
    } catch (const UsageError& error) {
      got = error.what();
    }
    CHECK(got == expected);
  }
}

TEST_CASE("completion and manual name every command, option and variable") {
  const std::string bash = bash_completion(), man = man_page();
  for (const Command* command : commands()) {
    CAPTURE(command->name);
    CHECK(bash.find("'" + std::string(command->name) + "') options=") != std::string::npos);
    for (const Option& option : command->options) {
      for (const std::string_view name : split_names(shown(option).names)) {
        CAPTURE(name);
        CHECK(bash.find(name) != std::string::npos);
        std::string escaped;
        for (const char c : name) escaped += c == '-' ? std::string("\\-") : std::string(1, c);
        CHECK(man.find(escaped) != std::string::npos);
      }
    }
  }
  for (const config::Setting& setting : config::settings_table())
    CHECK(man.find(config::environment_name(setting)) != std::string::npos);
  // A line that begins with a dot is a command of troff: only ours may.
  std::istringstream lines(man);
  const std::set<std::string> known{".TH", ".SH", ".SS", ".TP", ".B", ".I", ".PP", ".nf", ".fi"};
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.front() == '.') CHECK_MESSAGE(known.count(line.substr(0, line.find(' '))) == 1, line);
  }
}

TEST_CASE("docs/cli.md is what the table says") {
  const std::string path = testing::source_dir() + "/docs/cli.md";
  if (const char* update = std::getenv("ERRAND_UPDATE_GOLDEN"); update != nullptr && *update != '\0')
    std::ofstream(path) << cli_markdown();
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  CHECK_MESSAGE(text.str() == cli_markdown(), "stale: run `errand man --markdown > docs/cli.md`");
}
