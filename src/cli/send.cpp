// errand send: send one task by name, and perhaps wait for it.
#include "cli/context.hpp"
#include "cli/shown_result.hpp"
#include "core/iso8601.hpp"
#include "core/text.hpp"

#include <errand/error.hpp>

#include <unistd.h>
#include <array>
#include <cerrno>

namespace errand::cli {

namespace {

/// The whole of standard input, at most `limit` bytes: a message cannot be larger anyway.
std::string read_input(std::size_t limit, const Command* command) {
  std::string text;
  std::array<char, 65'536> part;
  for (;;) {
    const ssize_t n = read(STDIN_FILENO, part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(n));
    if (text.size() > limit) {
      throw UsageError("arguments: expected at most the limit of " + std::to_string(limit) +
                           " bytes (max_message_size), got more; put large data into a file and send its name",
                       command);
    }
  }
}

Value json_argument(const Context& context, const std::string& name, const std::string& text) {
  const auto limit = static_cast<std::size_t>(context.settings.integer("max_message_size"));
  if (text.size() > limit) {
    throw UsageError(name + ": expected at most the limit of " + std::to_string(limit) +
                         " bytes (max_message_size), got " + std::to_string(text.size()),
                     context.args.command);
  }
  try {
    Value value = parse_json(text, JsonLimits{.nodes = 10'000'000, .bytes = limit});
    decode_typed(value);
    return value;
  } catch (const Error& error) {
    throw UsageError(name + ": expected JSON, got " + config::quoted(text) + ": " + error.detail() +
                         (name == "ARGS" ? "; text needs quotes: '[\"like this\"]'" : ""),
                     context.args.command);
  }
}

TimePoint time_argument(const Context& context, std::string_view option, const std::string& text) {
  const auto time = core::parse_iso8601(text);
  if (!time) {
    throw UsageError(
        std::string(option) + ": expected a time such as 2030-01-31T12:00:00Z, got " + config::quoted(text),
        context.args.command);
  }
  return *time;
}

int integer_argument(const Context& context, std::string_view option, const std::string& text, std::uint64_t most) {
  const auto number = core::parse_number(text, most);
  if (!number)
    throw UsageError(std::string(option) + ": expected 0 to " + std::to_string(most) + ", got " + config::quoted(text),
                     context.args.command);
  return static_cast<int>(*number);
}

Array arguments_of(const Context& context) {
  std::string text = context.args.positional("ARGS");
  if (text.empty()) return {};
  if (text == "-")
    text = read_input(static_cast<std::size_t>(context.settings.integer("max_message_size")), context.args.command);
  Value value = json_argument(context, "ARGS", text);
  // One argument that is no list may stand alone.
  if (Array* items = value.if_array()) return std::move(*items);
  return Array{std::move(value)};
}

Object keywords_of(const Context& context) {
  const auto text = context.args.value("--kwargs");
  if (!text) return {};
  Value value = json_argument(context, "--kwargs", *text);
  Object* members = value.if_object();
  if (members == nullptr)
    throw UsageError("--kwargs: expected a JSON object, got " + std::string(kind_name(value.kind())),
                     context.args.command);
  return std::move(*members);
}

Signature signature_of(const Context& context) {
  const Arguments& args = context.args;
  const std::string name = args.positional("NAME");
  if (name.empty() || core::escape_controls(name) != name)
    throw UsageError("NAME: expected the name of a task, got " + config::quoted(name), args.command);
  Signature call(name, arguments_of(context), keywords_of(context));
  CallOptions& options = call.options;
  if (const auto text = args.value("--queue")) options.queue = queue_argument(context, *text);
  if (const auto text = args.value("--id")) {
    if (text->empty() || text->size() > 255 || core::escape_controls(*text) != *text) {
      throw UsageError("--id: expected 1 to 255 bytes without control characters, got " + config::quoted(*text),
                       args.command);
    }
    options.task_id = *text;
  }
  if (const auto text = args.value("--countdown")) options.countdown = duration_argument(context, "--countdown", *text);
  if (const auto text = args.value("--eta")) options.eta = time_argument(context, "--eta", *text);
  if (options.countdown && options.eta)
    throw UsageError("--countdown and --eta say the same thing twice; keep one", args.command);
  if (const auto text = args.value("--expires")) {
    if (const auto seconds = core::parse_duration(*text))
      options.expires_in = *seconds;
    else
      options.expires = time_argument(context, "--expires", *text);
  }
  if (const auto text = args.value("--priority")) options.priority = integer_argument(context, "--priority", *text, 9);
  if (const auto text = args.value("--time-limit"))
    options.time_limit = duration_argument(context, "--time-limit", *text);
  if (const auto text = args.value("--soft-time-limit"))
    options.soft_time_limit = duration_argument(context, "--soft-time-limit", *text);
  if (const auto text = args.value("--compression")) options.compression = *text;
  if (args.has("--ignore-result") || context.settings.flag("task_ignore_result")) options.ignore_result = true;
  for (const std::string& header : args.values("--header")) {
    const auto equals = header.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError("--header: expected NAME=VALUE, got " + config::quoted(header), args.command);
    options.headers.set(header.substr(0, equals), Value(header.substr(equals + 1)));
  }
  return call;
}

int send(Context& context) {
  ClientOptions options = context.client_options();
  options.strict_names = context.args.has("--strict");
  Client client(std::move(options));
  Signature call = signature_of(context);
  const bool wait = context.args.has("--wait");
  if (wait && call.options.ignore_result.value_or(false))
    throw UsageError("--wait: there will be no result to wait for with --ignore-result", context.args.command);
  const auto timeout = context.args.value("--timeout");
  const Deadline deadline =
      timeout ? Deadline::after(duration_argument(context, "--timeout", *timeout)) : Deadline::never();
  const std::string name = call.task;
  const AsyncResult result = client.send(std::move(call));
  if (!wait) {
    context.out.line(result.id());
    context.out.result(Value::object({{"id", result.id()}, {"task", name}}));
    return 0;
  }
  const bool ready = result.wait(deadline);
  return show_result(context, result.id(), name, result.record(), !ready);
}

}  // namespace

extern const Command send_command;
const Command send_command{
    .name = "send",
    .summary = "send a task by name, and with --wait print its result",
    .description =
        "Prints the task's id. Calls of tasks that this program brings, or that stand in a catalogue, are checked "
        "before anything is sent: a wrong argument is "
        "named with its parameter, the expected and the given type (exit code 2). With --wait the exit code is 1 when "
        "the task failed.",
    .positionals = {{"NAME", "the task's name"},
                    {"ARGS", "arguments as a JSON array, or one JSON value; - reads them from standard input", false}},
    .options = {{.names = "-k, --kwargs", .metavar = "JSON", .doc = "Keyword arguments, a JSON object."},
                {.names = "-w, --wait", .doc = "Wait for the result and print it."},
                {.names = "--timeout", .metavar = "TIME", .doc = "Wait no longer than this. Default: for ever."},
                {.names = "-q, --queue", .metavar = "QUEUE", .doc = "Send to this queue, whatever routes say."},
                {.names = "--countdown",
                 .metavar = "TIME",
                 .doc = "Do not start before this time has passed: 30s, 5min."},
                {.names = "--eta", .metavar = "TIME", .doc = "Do not start before: 2030-01-31T12:00:00Z."},
                {.names = "--expires", .metavar = "TIME", .doc = "Do not start after: a time, or a duration from now."},
                {.names = "--priority", .metavar = "N", .doc = "0 to 9."},
                {.names = "--time-limit", .metavar = "TIME", .doc = "Kill the task's process after this."},
                {.names = "--soft-time-limit", .metavar = "TIME", .doc = "Ask the task to stop after this."},
                {.names = "--id", .metavar = "ID", .doc = "The task's id. Default: a new one."},
                {.names = "--header",
                 .metavar = "NAME=VALUE",
                 .doc = "A header of the message, which the task can read. May be repeated.",
                 .repeated = true},
                {.names = "--compression", .metavar = "METHOD", .doc = "gzip, zlib, bzip2, lzma, zstd or brotli."},
                {.names = "--ignore-result", .doc = "Keep no result."},
                {.names = "--strict", .doc = "Refuse names that are in no catalogue."},
                {.setting = "catalogue"}},
    .examples = {{"errand send media.thumbnail '[\"cat.png\", 200]' --wait", ""},
                 {"errand send mail.weekly --kwargs '{\"to\": \"ann@example.org\"}' --countdown 5min --queue mail",
                  ""}},
    .run = send};

}  // namespace errand::cli
