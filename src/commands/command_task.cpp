#include "commands/command_task.hpp"

#include "commands/process.hpp"
#include "core/iso8601.hpp"
#include "core/text.hpp"
#include "tasks/limit_text.hpp"
#include "value/or_null.hpp"

#include <errand/context.hpp>
#include <errand/error.hpp>

#include <algorithm>
#include <csignal>
#include <cstring>

namespace errand::commands {

namespace {

constexpr int kAskAgain = 75;                // EX_TEMPFAIL of sysexits.h
constexpr Milliseconds kRetryWait{180'000};  // Celery's default_retry_delay
constexpr std::uint32_t kMostRetries = 3;    // Celery's max_retries
// The supervisor kills this process at the hard limit, and the program's group would survive it; so the group goes
// first.
constexpr Milliseconds kBeforeHardLimit{100};

Value json_schema(std::string_view type) {
  if (type == "text") return Value::object({{"type", "string"}});
  if (type == "integer") return Value::object({{"type", "integer"}});
  if (type == "float") return Value::object({{"type", "number"}});
  if (type == "bool") return Value::object({{"type", "boolean"}});
  if (type == "list") return Value::object({{"type", "array"}});
  if (type == "object") return Value::object({{"type", "object"}});
  return Value::object();
}

TaskSchema schema_of(const config::TaskSection& section) {
  TaskSchema schema;
  schema.open = !section.parameters.has_value();
  schema.result_type = "any";
  schema.result_json_schema = Value::object();
  for (const config::ParameterSection& given : section.parameters.value_or(std::vector<config::ParameterSection>{})) {
    ParameterSchema one;
    one.name = given.name;
    one.type = given.type;
    one.json_schema = json_schema(given.type);
    one.required = given.required;
    one.default_value = given.fallback;
    one.secret = given.secret;
    schema.parameters.push_back(std::move(one));
  }
  return schema;
}

Value time_or_null(const std::optional<TimePoint>& time) { return time ? Value(core::format_iso8601(*time)) : Value(); }

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : std::string("SIG") + name;
}

// A program, or one that a shell ran, ended by the kernel's limit. "": it was something else.
std::string passed_limit(const ProcessEnd& end, const ResourceLimits& limits) {
  const auto ended_by = [&](int signal) { return end.signal == signal || end.exit_status == 128 + signal; };
  if (limits.file_size && ended_by(SIGXFSZ)) return limit_text(Limit::file_size, limits, 0);
  if (limits.cpu_time && ended_by(SIGXCPU)) return limit_text(Limit::cpu_time, limits, 0);
  return "";
}

// Memory that a program is refused ends it in its own words; what it had used says why.
std::string memory_note(const ProcessEnd& end, const ResourceLimits& limits) {
  const auto used = static_cast<std::uint64_t>(end.peak_rss_kib) * 1'024;
  if (!limits.memory || used < *limits.memory / 4 * 3) return "";
  return " (near " + limit_text(Limit::memory, limits, used) + ")";
}

Value result_of(const std::string& output) {
  if (output.find_first_not_of(" \t\r\n") == std::string::npos) return Value();
  try {
    return parse_json(output, JsonLimits{.nodes = 1'000'000, .bytes = output.size()});
  } catch (const Error& error) {
    throw TaskError("InvalidResult", "standard output: expected one JSON value or nothing, got other text (" +
                                         error.detail() +
                                         "): " + core::shorten(core::escape_controls(output.substr(0, 400)), 200));
  }
}

Value run(const config::TaskSection& section, TaskContext& task, const TaskSchema& schema, const Array& args,
          const Object& kwargs) {
  // With parameters the call is bound as Python would; the program still gets what was sent.
  if (!schema.open) {
    static_cast<void>(bind_arguments(section.name, schema, args, kwargs));
    try {
      check_call(section.name, schema, args, kwargs);
    } catch (const Error& error) {
      throw TaskError("TypeError", error.detail());
    }
  }
  ProcessSpec spec;
  spec.command = section.command;
  spec.environment = section.environment;
  spec.cwd = section.cwd;
  spec.max_output = section.max_output;
  spec.input = to_json(command_input(task, args, kwargs)) + "\n";

  const auto begin = std::chrono::steady_clock::now();
  bool hard = false, asked = false;
  const auto order = [&] {
    const auto& limit = task.request().time_limit;
    const auto elapsed = std::chrono::steady_clock::now() - begin;
    if (limit && elapsed >= *limit - std::min(kBeforeHardLimit, *limit / 10)) hard = true;
    if (hard) return Order::kill;
    asked = asked || task.should_stop();
    return asked ? Order::terminate : Order::go_on;
  };
  ProcessEnd end;
  try {
    end = run_process(spec, [&](std::string_view line) { task.log(line); }, order);
  } catch (const Error& error) {
    throw TaskError("CommandNotStarted", error.subject() + ": " + error.detail());
  }
  if (hard)
    throw TaskError("TimeLimitExceeded",
                    "TimeLimitExceeded(" + core::format_duration(*task.request().time_limit) + ",)",
                    "billiard.exceptions");
  if (end.output_too_large) {
    throw TaskError("OutputTooLarge", "standard output: expected at most " + std::to_string(spec.max_output) +
                                          " bytes, got more; raise max_output or write a file");
  }
  // It may have ended well in spite of the limit; then that is what happened.
  if (asked && end.terminated && (end.signal != 0 || end.exit_status != 0)) task.check_cancelled();
  const std::string& said = end.last_lines;
  const ResourceLimits& limits = task.request().limits;
  if (const std::string limit = passed_limit(end, limits); !limit.empty()) {
    throw TaskError("ResourceLimitExceeded", "passed " + limit + (said.empty() ? "" : ": " + said),
                    "errand.exceptions");
  }
  if (end.signal != 0)
    throw TaskError("CommandFailed", "ended by " + signal_name(end.signal) + memory_note(end, limits) +
                                         (said.empty() ? "" : ": " + said));
  if (end.exit_status == kAskAgain) {
    const std::string why = said.empty() ? "the program asked for a retry (exit code 75)" : said;
    if (section.retry) throw Retry(why);
    throw Retry(why).in(kRetryWait).at_most(kMostRetries);
  }
  if (end.exit_status != 0) {
    throw TaskError(
        "CommandFailed",
        (said.empty() ? "exit code " + std::to_string(end.exit_status) + " and nothing on standard error" : said) +
            memory_note(end, limits));
  }
  return result_of(end.output);
}

}  // namespace

Value command_input(const TaskContext& task, const Array& args, const Object& kwargs) {
  const TaskContext::Request& request = task.request();
  return Value::object({{"id", request.id},
                        {"task", request.task},
                        {"args", Value(args)},
                        {"kwargs", Value(kwargs)},
                        {"retries", static_cast<long long>(request.retries)},
                        {"queue", request.queue},
                        {"root_id", text_or_null(request.root_id)},
                        {"parent_id", text_or_null(request.parent_id)},
                        {"group_id", text_or_null(request.group_id)},
                        {"hostname", text_or_null(request.hostname)},
                        {"redelivered", request.redelivered},
                        {"priority", request.priority},
                        {"eta", time_or_null(request.eta)},
                        {"expires", time_or_null(request.expires)},
                        {"headers", Value(request.message != nullptr ? request.message->headers : Object{})}});
}

void change_options(TaskDefinition& definition, const config::TaskSection& section) {
  TaskOptions& options = definition.options;
  const auto change = [](auto& target, const auto& given) {
    if (given) target = *given;
  };
  change(options.queue, section.queue);
  change(options.queue_required, section.queue_required);
  change(options.ignore_result, section.ignore_result);
  change(options.acks_late, section.acks_late);
  change(options.track_started, section.track_started);
  change(options.retry, section.retry);
  change(options.rate_limit, section.rate_limit);
  change(options.description, section.description);
  if (section.time_limit) options.time_limit = section.time_limit;
  if (section.soft_time_limit) options.soft_time_limit = section.soft_time_limit;
  if (section.expires) options.expires = section.expires;
  options.limits = section.limits.or_else(options.limits);
  if (section.priority) options.priority = section.priority;
}

TaskDefinition command_task(const config::TaskSection& section) {
  TaskDefinition definition;
  definition.name = section.name;
  definition.schema = schema_of(section);
  change_options(definition, section);
  definition.invoke = [section, schema = definition.schema](TaskContext& task, const Array& args,
                                                            const Object& kwargs) {
    return run(section, task, schema, args, kwargs);
  };
  return definition;
}

}  // namespace errand::commands
