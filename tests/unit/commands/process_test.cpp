#include "commands/process.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

using namespace errand;
using namespace errand::commands;

namespace {
struct Ran {
  ProcessEnd end;
  std::vector<std::string> lines;
};
Ran run(ProcessSpec spec, const std::function<Order()>& order = [] { return Order::go_on; }) {
  Ran ran;
  ran.end = run_process(spec, [&](std::string_view line) { ran.lines.emplace_back(line); }, order);
  return ran;
}
ProcessSpec shell(std::string script) {
  return {.command = {"/bin/sh", "-c", std::move(script)}, .environment = {}, .cwd = "", .input = ""};
}
}  // namespace

TEST_CASE("a program gets its input, and its output, lines and exit code come back") {
  ProcessSpec spec = shell("cat; echo one >&2; printf two >&2; exit 3");
  spec.input = std::string(300'000, 'x');  // more than any pipe holds
  const Ran ran = run(spec);
  CHECK(ran.end.output == spec.input);
  CHECK(ran.end.exit_status == 3);
  CHECK(ran.end.signal == 0);
  CHECK(ran.lines == std::vector<std::string>{"one", "two"});
  CHECK(ran.end.last_lines == "one\ntwo");
}

TEST_CASE("a program that does not read its input is no mistake") {
  ProcessSpec spec = shell("exec <&-; echo done");
  spec.input = std::string(1 << 20, 'x');
  CHECK(run(spec).end.output == "done\n");
}

// S14: the configured words are the program's words; nothing is ever read by a shell.
TEST_CASE("S14: arguments reach the program as they are, whatever stands in them") {
  const Ran ran = run({.command = {"printf", "%s|", "a;b", "$(id)", "* ?", "`x`", "", "\n"},
                       .environment = {},
                       .cwd = "",
                       .input = ""});
  CHECK(ran.end.output == "a;b|$(id)|* ?|`x`||\n|");
}

TEST_CASE("environment and folder are as asked") {
  ProcessSpec spec = shell("printf '%s %s' \"$ERRAND_TEST_VARIABLE\" \"$PWD\"");
  spec.environment = {{"ERRAND_TEST_VARIABLE", "a=b c"}};
  spec.cwd = "/";
  CHECK(run(spec).end.output == "a=b c /");
}

TEST_CASE("output beyond the limit ends the program, lines beyond theirs come in parts") {
  ProcessSpec spec = shell("yes");
  spec.max_output = 100'000;
  const Ran ran = run(spec);
  CHECK(ran.end.output_too_large);
  CHECK(ran.end.output.size() <= spec.max_output);

  const Ran long_line = run(shell("head -c 50000 /dev/zero | tr '\\0' x >&2"));
  CHECK(long_line.lines.size() == 50'000 / kMostLine + 1);
  CHECK(long_line.end.last_lines.size() <= kMostErrorText);
}

TEST_CASE("the end is asked for with SIGTERM, and a program may use it to end well") {
  bool ready = false;
  ProcessEnd end = run_process(
      shell("trap 'echo saved; exit 0' TERM; echo ready >&2; while :; do read x < /dev/zero & wait; done"),
      [&](std::string_view) { ready = true; }, [&] { return ready ? Order::terminate : Order::go_on; });
  CHECK(end.terminated);
  CHECK(end.exit_status == 0);
  CHECK(end.output == "saved\n");
}

// A shell script's children are what runs; killing the script alone would leave them running.
TEST_CASE("killing ends the whole group") {
  std::string child;
  const ProcessEnd end = run_process(
      shell("sleep 600 & echo $! >&2; wait"), [&](std::string_view line) { child = line; },
      [&] { return child.empty() ? Order::go_on : Order::kill; });
  CHECK(end.signal == SIGKILL);
  REQUIRE_FALSE(child.empty());
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const pid_t pid = static_cast<pid_t>(std::stol(child));
  // Until its parent, the init process, has taken note. A zombie is dead, too.
  const auto alive = [&] {
    std::string state;
    if (FILE* file = std::fopen(("/proc/" + child + "/stat").c_str(), "r")) {
      char text[512] = {};
      if (std::fgets(text, sizeof text, file) != nullptr) state = text;
      std::fclose(file);
    }
    return kill(pid, 0) == 0 && state.find(") Z") == std::string::npos;
  };
  while (alive() && std::chrono::steady_clock::now() < give_up) {
  }
  CHECK_FALSE(alive());
}

TEST_CASE("a grandchild that keeps the pipes open does not keep the task waiting") {
  const auto begin = std::chrono::steady_clock::now();
  CHECK(run(shell("sleep 30 & echo done")).end.output == "done\n");
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("a program that cannot be started says why") {
  CHECK_THROWS_WITH_AS(run({.command = {"/no/such/program"}, .environment = {}, .cwd = "", .input = ""}),
                       "command: cannot be started: No such file or directory (/no/such/program)", Error);
  CHECK_THROWS_AS(run({.command = {"no-such-program-anywhere"}, .environment = {}, .cwd = "", .input = ""}), Error);
  CHECK_THROWS_AS(run({.command = {"/etc/passwd"}, .environment = {}, .cwd = "", .input = ""}), Error);
  CHECK_THROWS_AS(run({.command = {"true"}, .environment = {}, .cwd = "/no/such/folder", .input = ""}), Error);
  CHECK(cannot_run({"/etc/passwd"}, "").find("chmod +x") != std::string::npos);
  CHECK(cannot_run({"no-such-program-anywhere"}, "") == "no-such-program-anywhere is not in PATH");
  CHECK(cannot_run({"sh"}, "").empty());
  CHECK(cannot_run({"./sh"}, "/bin").empty());
  CHECK(cannot_run({"/bin"}, "") == "/bin cannot be run: it is no file");
}
