// errand check ...: do the two sides agree, and does a store keep its promises?
#include "cli/context.hpp"
#include "cli/control.hpp"
#include "core/file.hpp"

#include <errand/catalogue.hpp>
#include <errand/conformance.hpp>
#include <errand/error.hpp>

#include <algorithm>

namespace errand::cli {

namespace {

/// Signatures of the other side: a file, or one worker that answered.
struct Published {
  std::string where;
  SchemaMap tasks;
};

[[noreturn]] void refuse(ErrorKind kind, const std::string& subject, const std::string& detail) {
  throw Error({.kind = kind, .operation = "check catalogue", .subject = subject, .detail = detail, .code = ""});
}

Published from_file(const std::string& path) {
  constexpr std::size_t kMostBytes = 16u << 20;
  std::string reason;
  const auto text = core::read_file(path, kMostBytes, reason);
  if (!text) refuse(ErrorKind::invalid, path, reason);
  try {
    return {path, load_catalogue(parse_json(*text, JsonLimits{.nodes = kMaxCatalogueNodes, .bytes = kMostBytes}))};
  } catch (const Error& error) {
    refuse(ErrorKind::invalid, path, error.detail() + "; expected the output of errand tasks --json");
  }
}

std::vector<Published> from_workers(Context& context) {
  const auto given = context.args.value("--timeout");
  const Milliseconds wait = given ? duration_argument(context, "--timeout", *given) : Milliseconds{1'000};
  const auto broker = context.broker();
  std::vector<Published> all;
  for (const WorkerAnswer& one : ask_workers(*broker, "catalogue", {}, Deadline::after(wait))) {
    // Python workers do not know this command; whoever answers without a catalogue is none of ours.
    if (const Value* published = one.answer.find("ok"); published != nullptr && published->is_object())
      all.push_back({one.worker, load_catalogue(*published)});
  }
  if (all.empty()) {
    refuse(
        ErrorKind::unavailable, redact_url(context.settings.text("broker_url")),
        "no native worker answered within " + age(wait) + "; start one, or give a file: errand check catalogue FILE");
  }
  return all;
}

struct Tally {
  std::size_t agree = 0, differ = 0, missing = 0;
  Array document;
};

void compare(Context& context, const std::string& name, const TaskSchema& ours, const Published& there, Tally& tally) {
  Object entry{{"task", name}, {"there", there.where}, {"ours", describe_task(name, ours)}};
  entry.set("our_version", schema_version(ours));
  const auto found = there.tasks.find(name);
  std::vector<std::string> differences;
  if (found == there.tasks.end()) {
    ++tally.missing;
    entry.set("verdict", "missing");
    context.out.line(name + " is not there (" + there.where + ")");
  } else {
    differences = compare_schemas(ours, found->second);
    entry.set("theirs", describe_task(name, found->second));
    entry.set("their_version", schema_version(found->second));
    entry.set("verdict", differences.empty() ? "agrees" : "differs");
    ++(differences.empty() ? tally.agree : tally.differ);
  }
  if (!differences.empty()) {
    context.out.line(name + " differs");
    context.out.line("  here   " + describe_task(name, ours) + "  version " + schema_version(ours));
    context.out.line("  there  " + describe_task(name, found->second) + "  version " + schema_version(found->second) +
                     ", " + there.where);
    for (const std::string& one : differences) context.out.line("         " + one);
  }
  Array lines;
  for (const std::string& one : differences) lines.emplace_back(one);
  entry.set("differences", Value(std::move(lines)));
  tally.document.emplace_back(std::move(entry));
}

int check_catalogue(Context& context) {
  const std::string file = context.args.positional("FILE");
  const SchemaMap ours = context.client_options().catalogue;
  if (ours.empty()) {
    refuse(ErrorKind::invalid, "",
           "this program knows no signatures to compare: it has no tasks, and no --catalogue was given");
  }
  const std::vector<Published> others = file.empty() ? from_workers(context) : std::vector{from_file(file)};
  Tally tally;
  for (const Published& there : others) {
    for (const auto& [name, schema] : ours) compare(context, name, schema, there, tally);
  }
  const bool good = tally.differ == 0 && (tally.missing == 0 || !context.args.has("--strict"));
  context.out.result(Value::object({{"agrees", good}, {"tasks", Value(std::move(tally.document))}}));
  context.out.line(std::to_string(tally.agree) + " agree, " + std::to_string(tally.differ) + " differ, " +
                   std::to_string(tally.missing) + " not there");
  return good ? 0 : 1;
}

void print(Context& context, const conformance::Outcome& one) {
  std::string line(conformance::to_string(one.verdict));
  line += std::string(9 - std::min<std::size_t>(8, line.size()), ' ') + std::string(one.name) + ": ";
  context.out.line(line + (one.verdict == conformance::Verdict::passed ? std::string(one.promise) : one.text));
}

int check_broker(Context& context) {
  const std::string url = context.settings.text("broker_url");
  const std::string results = context.settings.text("result_backend");
  const TransportOptions transport = context.transport();
  conformance::Options options;
  if (const auto only = context.args.value("--only")) options.only = *only;
  options.on_outcome = [&](const conformance::Outcome& one) { print(context, one); };
  const auto open_results = [&] { return open_result_backend(results.empty() ? url : results, transport); };
  std::vector<conformance::Outcome> all = conformance::check_broker(
      {.open = [&] { return open_broker(url, transport); }, .open_results = open_results}, options);
  if (results != "disabled") {
    for (conformance::Outcome& one : conformance::check_backend({.open = open_results}, options))
      all.push_back(std::move(one));
  }
  Array document;
  std::size_t passed = 0, failed = 0;
  for (const conformance::Outcome& one : all) {
    passed += one.verdict == conformance::Verdict::passed ? 1 : 0;
    failed += one.verdict == conformance::Verdict::failed ? 1 : 0;
    document.push_back(Value::object({{"name", std::string(one.name)},
                                      {"promise", std::string(one.promise)},
                                      {"verdict", std::string(conformance::to_string(one.verdict))},
                                      {"text", one.text},
                                      {"seconds", static_cast<double>(one.took.count()) / 1000}}));
  }
  context.out.result(Value::object({{"broker", redact_url(url)}, {"checks", Value(std::move(document))}}));
  context.out.line(std::to_string(passed) + " passed, " + std::to_string(failed) + " failed, " +
                   std::to_string(all.size() - passed - failed) + " skipped");
  if (all.empty()) throw UsageError("--only: no check has that in its name", context.args.command);
  return failed == 0 ? 0 : 1;
}

}  // namespace

extern const Command check_catalogue_command, check_broker_command;

const Command check_catalogue_command{
    .name = "check catalogue",
    .summary = "compare the signatures known here with those of the workers",
    .description =
        "Known here are the tasks of this program and those of --catalogue; the other side is a file that errand tasks "
        "--json wrote, or every native worker that answers now. Where they disagree both signatures are printed, and "
        "the exit code is 1.",
    .positionals = {{"FILE", "the other side's catalogue; without it the workers are asked", false}},
    .options = {{.setting = "catalogue"},
                {.names = "--strict", .doc = "A task that the other side does not have is a disagreement, too."},
                {.names = "--timeout", .metavar = "TIME", .doc = "How long to wait for workers. Default: 1s."}},
    .examples = {{"errand check catalogue", "before a deploy: would my calls fit the workers that run now?"},
                 {"errand check catalogue --catalogue mine.json theirs.json", ""}},
    .run = check_catalogue};

const Command check_broker_command{
    .name = "check broker",
    .summary = "try every promise of brokers and result backends on the configured ones",
    .description =
        "Works on queues and ids of its own with random names, and takes away what it put there. Takes about half a "
        "minute. The exit code is 1 when a promise was broken.",
    .positionals = {},
    .options = {{.names = "--only", .metavar = "WORD", .doc = "Only checks whose name contains this."}},
    .examples = {{"errand check broker -b redis://localhost/0", ""}},
    .run = check_broker};

}  // namespace errand::cli
