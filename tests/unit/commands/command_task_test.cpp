#include "commands/command_task.hpp"

#include <errand/context.hpp>
#include <errand/error.hpp>
#include <errand/retry.hpp>
#include <errand/task.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <vector>

using namespace errand;
using namespace errand::commands;

namespace {

struct Host final : ContextHost {
  void progress(std::string_view, const Value&) override {}
  void log(std::string_view line) override {
    lines.emplace_back(line);
    if (soft_after_line) soft = true;
  }
  std::string_view stop_reason() const noexcept override { return reason; }
  bool soft_limit_passed() const noexcept override { return soft; }
  TaskId send(Signature) override { return ""; }
  std::vector<std::string> lines;
  std::string reason;
  bool soft = false, soft_after_line = false;
};

config::TaskSection section(std::string script) {
  config::TaskSection out;
  out.name = "shell.task";
  out.command = {"/bin/sh", "-c", std::move(script)};
  return out;
}

Value call(const config::TaskSection& one, Host& host, const Array& args = {}, const Object& kwargs = {},
           std::optional<Milliseconds> limit = {}) {
  TaskContext::Request request;
  request.id = "id-1";
  request.task = one.name;
  request.queue = "media";
  request.retries = 2;
  request.time_limit = limit;
  TaskContext task(std::move(request), host);
  return command_task(one).invoke(task, args, kwargs);
}

template <class E>
std::string thrown(const config::TaskSection& one, std::optional<Milliseconds> limit = {}) {
  Host host;
  try {
    static_cast<void>(call(one, host, {}, {}, limit));
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("the program reads the call as JSON and answers with JSON") {
  Host host;
  const Value seen =
      call(section("cat; echo working >&2"), host, {Value("gr\xc3\xbc\xc3\x9f"), Value(1)}, {{"width", Value(200)}});
  CHECK(*seen.find("id") == Value("id-1"));
  CHECK(*seen.find("args") == Value::array({"gr\xc3\xbc\xc3\x9f", 1}));
  CHECK(*seen.find("kwargs") == Value::object({{"width", 200}}));
  CHECK(*seen.find("retries") == Value(2));
  CHECK(*seen.find("queue") == Value("media"));
  CHECK(host.lines == std::vector<std::string>{"working"});
  CHECK(call(section("true"), host).is_null());
}

TEST_CASE("exit codes: 75 asks for a retry, others fail with the last lines of standard error") {
  CHECK(thrown<TaskError>(section("echo first >&2; echo 'disk is full' >&2; exit 4")) == "first\ndisk is full");
  CHECK(thrown<TaskError>(section("exit 4")) == "exit code 4 and nothing on standard error");
  CHECK(thrown<TaskError>(section("echo oops >&2; kill -9 $$")) == "ended by SIGKILL: oops");
  CHECK(thrown<Retry>(section("echo 'busy now' >&2; exit 75")) == "busy now");
  config::TaskSection with_policy = section("exit 75");
  with_policy.retry = RetryPolicy::fixed(Milliseconds{10}, 2);
  Host host;
  try {
    static_cast<void>(call(with_policy, host));
    FAIL("expected a retry");
  } catch (const Retry& retry) {
    CHECK_FALSE(retry.countdown.has_value());  // the policy says
  }
  CHECK(thrown<TaskError>(section("echo hello"))
            .rfind("standard output: expected one JSON value or nothing, got other text", 0) == 0);
}

TEST_CASE("F031 for programs: the soft limit ends them with SIGTERM, the hard limit kills the group first") {
  Host host;
  host.soft_after_line = true;
  CHECK_THROWS_AS(call(section("echo begun >&2; exec sleep 600"), host), SoftTimeLimitExceeded);
  // One that ends well in its own way has ended well.
  Host patient;
  patient.soft_after_line = true;
  CHECK(call(section("trap 'echo 7; exit 0' TERM; echo begun >&2; sleep 600 & wait"), patient) == Value(7));
  CHECK(thrown<TaskError>(section("trap '' TERM; sleep 600"), Milliseconds{300}) == "TimeLimitExceeded(300ms,)");
}

TEST_CASE("declared parameters are checked, also against what other senders send") {
  config::TaskSection one = section("cat");
  one.parameters = std::vector<config::ParameterSection>{
      {.name = "path", .type = "text", .required = true, .fallback = {}, .secret = false},
      {.name = "width", .type = "integer", .required = false, .fallback = 200, .secret = false}};
  Host host;
  CHECK_NOTHROW(call(one, host, {Value("a")}));
  CHECK_THROWS_AS(call(one, host, {}), TaskError);
  CHECK_THROWS_AS(call(one, host, {Value("a"), Value("wide")}), TaskError);
  const TaskDefinition definition = command_task(one);
  CHECK(definition.schema.parameters.size() == 2);
  CHECK_FALSE(definition.schema.open);
  CHECK(command_task(section("x")).schema.open);
}

TEST_CASE("DZ-39: a program that the kernel ends for its limit fails with the limit's name") {
  const auto limited = [](std::string script, ResourceLimits limits) -> std::string {
    TaskContext::Request request;
    request.id = "id-1";
    request.task = "shell.task";
    request.limits = limits;
    Host host;
    TaskContext task(std::move(request), host);
    try {
      static_cast<void>(command_task(section(std::move(script))).invoke(task, {}, {}));
    } catch (const TaskError& error) {
      return error.type + ": " + error.what();
    }
    return "nothing was thrown";
  };
  // What a pool's process has as its own limit, a program inherits; a shell shows the signal as 128 and its number.
  CHECK(limited("kill -XFSZ $$", {.file_size = 4u << 20}) == "ResourceLimitExceeded: passed file_size_limit = 4MiB");
  CHECK(limited("sh -c 'kill -XCPU $$'; exit $?", {.cpu_time = Milliseconds{500}})
            .starts_with("ResourceLimitExceeded: passed cpu_limit = 500ms"));
  CHECK(limited("kill -XFSZ $$", {}).starts_with("CommandFailed: ended by SIGXFSZ"));
  CHECK(limited("exit 3", {.memory = 1'024}).find("(near memory_limit = 1KiB (used ") != std::string::npos);
}
