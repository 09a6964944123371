// errand dead ...: messages that could not be run, with their original bytes and the reason.
#include "cli/context.hpp"
#include "cli/queue_rows.hpp"
#include "core/base64.hpp"
#include "core/text.hpp"
#include "core/utf8.hpp"

#include <errand/error.hpp>

namespace errand::cli {

namespace {

constexpr std::size_t kPage = 500;
constexpr std::size_t kDefaultLimit = 1'000;
constexpr std::size_t kMostShown = 100'000;

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = static_cast<unsigned char>(text[i]) < 0x80 ? 1 : utf8::sequence(text.substr(i));
    if (length == 0) return false;
    i += length;
  }
  return true;
}

/// Which letters are meant, besides by id.
struct Filter {
  std::optional<std::string> reason, task, task_id;
  std::optional<TimePoint> before;

  bool any() const { return reason || task || task_id || before; }
  bool takes(const DeadLetter& letter) const {
    return (!reason || letter.reason == *reason) && (!task || letter.task == *task) &&
           (!task_id || letter.task_id == *task_id) && (!before || letter.last_seen < *before);
  }
};

Filter filter_of(const Context& context) {
  Filter filter;
  filter.reason = context.args.value("--reason");
  filter.task = context.args.value("--task");
  filter.task_id = context.args.value("--task-id");
  if (const auto age = context.args.value("--older-than")) {
    const auto duration = core::parse_duration(*age);
    if (!duration)
      throw UsageError("--older-than: expected a time such as 90s, 2h or 1d, got " + config::quoted(*age),
                       context.args.command);
    filter.before = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()) - *duration;
  }
  return filter;
}

/// Up to `limit` letters of the queue that the filter takes, oldest first, page by page. What dies meanwhile may be
/// among them.
std::vector<DeadLetter> letters_of(Broker& broker, const std::string& queue, const Filter& filter, std::size_t limit) {
  std::vector<DeadLetter> out;
  std::string after;
  while (out.size() < limit) {
    std::vector<DeadLetter> page = broker.dead_letters(queue, kPage, after);
    if (page.empty()) break;
    after = page.back().id;
    for (DeadLetter& letter : page) {
      if (out.size() < limit && filter.takes(letter)) out.push_back(std::move(letter));
    }
  }
  return out;
}

Object letter_to_json(const DeadLetter& letter) {
  return Object{{"id", letter.id},
                {"queue", letter.queue},
                {"reason", letter.reason},
                {"detail", letter.detail},
                {"task", letter.task.empty() ? Value() : Value(letter.task)},
                {"task_id", letter.task_id.empty() ? Value() : Value(letter.task_id)},
                {"deliveries", letter.deliveries},
                {"first_seen", time_text(letter.first_seen)},
                {"last_seen", time_text(letter.last_seen)},
                {"bytes", letter.raw.size()}};
}

std::vector<std::string> queues_asked(Context& context, Broker& broker) {
  const std::string queue = context.args.positional("QUEUE");
  if (!queue.empty()) return {queue_argument(context, queue)};
  std::vector<std::string> names;
  for (const QueueInfo& info : all_queues(context, broker)) {
    if (info.dead > 0) names.push_back(info.name);
  }
  return names;
}

int list(Context& context) {
  const auto broker = context.broker();
  std::size_t limit = kDefaultLimit;
  if (const auto given = context.args.value("--limit")) {
    const auto number = core::parse_number(*given, kMostShown);
    if (!number || *number == 0)
      throw UsageError("--limit: expected 1 to " + std::to_string(kMostShown) + ", got " + config::quoted(*given),
                       context.args.command);
    limit = static_cast<std::size_t>(*number);
  }
  const Filter filter = filter_of(context);
  Array document;
  std::vector<std::vector<std::string>> rows;
  for (const std::string& queue : queues_asked(context, *broker)) {
    for (const DeadLetter& letter : letters_of(*broker, queue, filter, limit - document.size())) {
      document.emplace_back(letter_to_json(letter));
      rows.push_back({queue, letter.id, letter.reason, letter.task.empty() ? "-" : letter.task,
                      time_text(letter.last_seen).substr(0, 19), letter.detail});
    }
    if (document.size() >= limit) break;
  }
  context.out.result(Value(document));
  if (rows.empty())
    context.out.line("no dead letters");
  else
    context.out.table({"QUEUE", "ID", "REASON", "TASK", "LAST SEEN (UTC)", "DETAIL"}, rows);
  return 0;
}

int show(Context& context) {
  const std::string queue = queue_argument(context, context.args.positional("QUEUE"));
  const std::string id = context.args.positional("ID");
  const auto broker = context.broker();
  std::string after;
  for (;;) {
    const std::vector<DeadLetter> page = broker->dead_letters(queue, kPage, after);
    for (const DeadLetter& letter : page) {
      if (letter.id != id) continue;
      Object document = letter_to_json(letter);
      const bool text = is_utf8(letter.raw);
      document.set("encoding", text ? "utf-8" : "base64");
      document.set("raw", text ? letter.raw : core::base64_encode(letter.raw));
      context.out.result(Value(document));
      for (const auto& [name, value] : document) {
        if (name == "raw" || name == "encoding") continue;
        context.out.line(name + std::string(12 - std::min<std::size_t>(11, name.size()), ' ') +
                         (value.is_text() ? value.as_text() : to_json(value)));
      }
      context.out.line("");
      context.out.line(core::shorten(text ? letter.raw : document.at("raw").as_text(), kMostShown));
      return 0;
    }
    if (page.empty()) break;
    after = page.back().id;
  }
  throw Error({.kind = ErrorKind::not_found,
               .operation = "dead show",
               .subject = queue,
               .detail = "no dead letter has the id " + config::quoted(id) + "; see errand dead list " + queue,
               .code = ""});
}

using Change = std::size_t (Broker::*)(std::string_view, std::span<const std::string>);

int change(Context& context, Change what, const std::string& verb) {
  const std::string queue = queue_argument(context, context.args.positional("QUEUE"));
  std::vector<std::string> ids = context.args.positionals("ID");
  const bool all = context.args.has("--all");
  const Filter filter = filter_of(context);
  if (ids.empty() && !all && !filter.any())
    throw UsageError("expected ids, --all, or which of them: --reason, --task, --task-id, --older-than",
                     context.args.command);
  if (!ids.empty() && (all || filter.any()))
    throw UsageError("expected either ids, or --all or a choice, got both", context.args.command);
  const auto broker = context.broker();
  if (ids.empty()) {
    std::string after;
    for (;;) {
      const std::vector<DeadLetter> page = broker->dead_letters(queue, kPage, after);
      if (page.empty()) break;
      after = page.back().id;
      for (const DeadLetter& letter : page) {
        if (filter.takes(letter)) ids.push_back(letter.id);
      }
    }
  }
  std::size_t done = 0;
  for (std::size_t at = 0; at < ids.size(); at += kPage) {
    done += ((*broker).*what)(queue, std::span(ids).subspan(at, std::min(kPage, ids.size() - at)));
  }
  context.out.result(Value::object({{"queue", queue}, {verb, done}, {"not_found", ids.size() - done}}));
  context.out.line(verb + " " + std::to_string(done) + " of " + std::to_string(ids.size()));
  return done == ids.size() ? 0 : 1;
}

int requeue(Context& context) { return change(context, &Broker::requeue_dead, "requeued"); }
int drop(Context& context) { return change(context, &Broker::drop_dead, "dropped"); }

}  // namespace

extern const Command dead_list_command, dead_show_command, dead_requeue_command, dead_drop_command;

const Command dead_list_command{
    .name = "dead list",
    .summary = "list messages that could not be run",
    .description =
        "Oldest first. Reasons: UNKNOWN_TASK, UNDECODABLE, CONTENT_DISALLOWED, REJECTED, CRASH_LIMIT, DELIVERY_LIMIT, "
        "ID_CONFLICT, COMMIT_REFUSED, SIGNATURE_... and others; DETAIL says it in words.",
    .positionals = {{"QUEUE", "only of this queue", false}},
    .options = {{.names = "--limit", .metavar = "N", .doc = "At most so many. Default: 1000."},
                {.names = "--reason", .metavar = "CODE", .doc = "Only with this reason."},
                {.names = "--task", .metavar = "NAME", .doc = "Only of this task."},
                {.names = "--task-id", .metavar = "ID", .doc = "Only with this task id."},
                {.names = "--older-than", .metavar = "TIME", .doc = "Only those that died longer ago: 90s, 2h, 1d."}},
    .examples = {{"errand dead list media", ""}},
    .run = list};

const Command dead_show_command{
    .name = "dead show",
    .summary = "print one dead letter with its original bytes",
    .description = "",
    .positionals = {{"QUEUE", "the queue it died in"}, {"ID", "its id, from errand dead list"}},
    .options = {},
    .examples = {{"errand dead show media 17", ""}},
    .run = show};

const Command dead_requeue_command{
    .name = "dead requeue",
    .summary = "put dead letters back on their queue, byte for byte",
    .description = "By id, all, or those that every choice given takes. The exit code is 1 when an id was not found.",
    .positionals = {{"QUEUE", "the queue they died in"}, {"ID", "ids, from errand dead list", false, true}},
    .options = {{.names = "--all", .doc = "All that are there now."},
                {.names = "--reason", .metavar = "CODE", .doc = "Only with this reason."},
                {.names = "--task", .metavar = "NAME", .doc = "Only of this task."},
                {.names = "--task-id", .metavar = "ID", .doc = "Only with this task id."},
                {.names = "--older-than", .metavar = "TIME", .doc = "Only those that died longer ago: 90s, 2h, 1d."}},
    .examples = {{"errand dead requeue media 17 18", ""},
                 {"errand dead requeue media --reason UNKNOWN_TASK",
                  "after the worker that knows the task was started"}},
    .run = requeue};

const Command dead_drop_command{
    .name = "dead drop",
    .summary = "delete dead letters for good",
    .description = "By id, all, or those that every choice given takes. The exit code is 1 when an id was not found.",
    .positionals = {{"QUEUE", "the queue they died in"}, {"ID", "ids, from errand dead list", false, true}},
    .options = {{.names = "--all", .doc = "All that are there now."},
                {.names = "--reason", .metavar = "CODE", .doc = "Only with this reason."},
                {.names = "--task", .metavar = "NAME", .doc = "Only of this task."},
                {.names = "--task-id", .metavar = "ID", .doc = "Only with this task id."},
                {.names = "--older-than", .metavar = "TIME", .doc = "Only those that died longer ago: 90s, 2h, 1d."}},
    .examples = {{"errand dead drop media 17", ""}},
    .run = drop};

}  // namespace errand::cli
