#include "config/sections.hpp"

#include "config/convert.hpp"
#include "config/reader.hpp"
#include "core/text.hpp"

#include <algorithm>

namespace errand::config {

namespace {

void check_queue(const std::string& name) {
  if (const std::string mistake = queue_name_mistake(name); !mistake.empty()) Reader::refuse_with(mistake);
}

ParameterSection parameter(const Value& given) {
  static const std::vector<std::string_view> kTypes{"text", "integer", "float", "bool", "list", "object", "any"};
  ParameterSection out;
  if (const std::string* name = given.if_text()) {
    out.name = *name;
  } else if (const Object* table = given.if_object()) {
    for (const auto& [key, value] : *table) {
      if (key == "name" && value.is_text()) {
        out.name = value.as_text();
      } else if (key == "type" && value.is_text()) {
        out.type = value.as_text();
        if (std::find(kTypes.begin(), kTypes.end(), out.type) == kTypes.end()) {
          Reader::refuse_with("expected the type text, integer, float, bool, list, object or any, got " +
                              quoted(out.type));
        }
      } else if (key == "default") {
        out.required = false;
        out.fallback = value;
      } else if (key == "secret" && value.is_bool()) {
        out.secret = value.as_bool();
      } else {
        Reader::refuse_with("expected { name, type, default, secret }, got " + quoted(key) + " = " + describe(value));
      }
    }
  }
  if (out.name.empty()) Reader::refuse_with("expected names, or tables with a name, got " + describe(given));
  return out;
}

std::vector<ParameterSection> parameters(const Node& node) {
  const Array* items = node.table ? nullptr : node.value.if_array();
  if (items == nullptr || items->size() > kMostArguments)
    Reader::refuse("an array of names or { name, type, default } tables", node);
  std::vector<ParameterSection> out;
  for (const Value& item : *items) {
    ParameterSection one = parameter(item);
    if (std::any_of(out.begin(), out.end(), [&](const ParameterSection& other) { return other.name == one.name; })) {
      Reader::refuse_with("the parameter " + quoted(one.name) + " stands there twice");
    }
    if (one.required && !out.empty() && !out.back().required) {
      Reader::refuse_with("the parameter " + quoted(one.name) + " has no default but follows one that has");
    }
    out.push_back(std::move(one));
  }
  return out;
}

TaskSection read_task(const std::string& name, const Node& node, const std::string& file, Problems& problems) {
  static constexpr Setting kPriority{
      .group = "", .name = "", .type = Type::integer, .fallback = "", .doc = "", .most = 9};
  static constexpr Setting kOutput{
      .group = "", .name = "", .type = Type::size, .fallback = "", .doc = "", .least = 1, .most = 1 << 30};
  TaskSection task;
  task.name = name;
  task.where = file + ":" + std::to_string(node.line);
  Reader reader(node, file, "[tasks." + quoted(name) + "] ", problems);
  reader.key("command", [&](const Node& given) {
    task.command = Reader::texts(given, "an array of text, the program and its arguments");
    if (task.command.front().empty()) Reader::refuse_with("expected the name of a program first, got nothing");
  });
  reader.key("parameters", [&](const Node& given) { task.parameters = parameters(given); });
  reader.key("environment", [&](const Node& given) {
    if (!given.table) Reader::refuse("a table of text", given);
    for (const auto& [key, value] : given.members) {
      const std::string* text = value.table ? nullptr : value.value.if_text();
      if (text == nullptr || key.empty() || key.find('=') != std::string::npos ||
          text->find('\0') != std::string::npos) {
        Reader::refuse_with("expected names and text, got " + quoted(key) + " = " +
                            (value.table ? "a table" : describe(value.value)));
      }
      task.environment.emplace_back(key, *text);
    }
  });
  std::optional<std::string> cwd;
  reader.text("cwd", cwd);
  task.cwd = cwd.value_or("");
  reader.setting("max_output", kOutput,
                 [&](const Value& value) { task.max_output = static_cast<std::size_t>(value.as_integer()); });
  reader.key("queue", [&](const Node& given) {
    if (given.table || !given.value.is_text()) Reader::refuse("the name of a queue", given);
    check_queue(given.value.as_text());
    task.queue = given.value.as_text();
  });
  reader.flag("queue_required", task.queue_required);
  reader.key("retry", [&](const Node& given) {
    if (given.table || !given.value.is_text()) Reader::refuse("a policy such as \"exp(1s, 10min) x5\"", given);
    task.retry = RetryPolicy::parse(given.value.as_text());
  });
  reader.key("rate_limit", [&](const Node& given) {
    if (given.table || !(given.value.is_text() || given.value.is_integer()))
      Reader::refuse("a rate such as \"10/m\"", given);
    task.rate_limit =
        RateLimit::parse(given.value.is_text() ? given.value.as_text() : std::to_string(given.value.as_integer()));
  });
  reader.duration("time_limit", task.time_limit);
  reader.duration("soft_time_limit", task.soft_time_limit);
  reader.duration("expires", task.expires);
  reader.size("memory_limit", task.limits.memory);
  reader.duration("cpu_limit", task.limits.cpu_time);
  reader.size("file_size_limit", task.limits.file_size);
  reader.size("disk_limit", task.limits.disk);
  reader.count("open_files_limit", task.limits.open_files);
  reader.count("processes_limit", task.limits.processes);
  reader.setting("priority", kPriority,
                 [&](const Value& value) { task.priority = static_cast<int>(value.as_integer()); });
  reader.flag("acks_late", task.acks_late);
  reader.flag("ignore_result", task.ignore_result);
  reader.flag("track_started", task.track_started);
  reader.text("description", task.description);
  reader.finish();
  if (task.command.empty() && node.find("command") == nullptr) {
    for (const char* key : {"parameters", "environment", "cwd", "max_output"}) {
      if (const Node* given = node.find(key))
        reader.wrong(given->line, std::string(key) + " is for tasks with a command; add command = [\"program\"]");
    }
  }
  if (task.time_limit && task.soft_time_limit && *task.soft_time_limit > *task.time_limit) {
    reader.wrong(node.find("soft_time_limit")->line,
                 "soft_time_limit: expected at most time_limit (" + core::format_duration(*task.time_limit) +
                     "), got " + core::format_duration(*task.soft_time_limit) + "; it would never be reached");
  }
  return task;
}

}  // namespace

const std::vector<TableKey>& task_keys() {
  static const std::vector<TableKey> keys{
      {"command", "array of text",
       "The program and its arguments; no shell. Without it the table changes options of a task that this binary "
       "brings."},
      {"parameters", "array",
       "Names, or `{ name, type, default, secret }` with type text, integer, float, bool, list, object or any. Calls "
       "are checked against it before they are sent. Without it any arguments are taken."},
      {"environment", "table of text", "Added to the worker's environment."},
      {"cwd", "text", "Folder the program starts in."},
      {"max_output", "size", "Most bytes of standard output; more is a failure. Default 16MiB."},
      {"queue", "text", "The task's own queue."},
      {"queue_required", "bool", "Calls must name a queue."},
      {"retry", "text", "When a failed attempt runs again: `exp(1s, 10min) x5 jitter`, `fixed(3min) x3`."},
      {"rate_limit", "text", "Most starts: `10/s`, `100/m`, `3/h`; by each worker."},
      {"time_limit", "duration", "The process is killed after that."},
      {"soft_time_limit", "duration", "The task is asked to stop after that; a program gets SIGTERM."},
      {"memory_limit", "size", "Ended as ResourceLimitExceeded when its processes use more together (prefork)."},
      {"cpu_limit", "duration", "The same for processor time."},
      {"file_size_limit", "size", "The same for the largest file it writes."},
      {"disk_limit", "size", "The same for all it writes to disks."},
      {"open_files_limit", "integer", "Descriptors of each of its processes; opening more fails inside the task."},
      {"processes_limit", "integer", "The same for processes it has started and that still are there."},
      {"expires", "duration", "Calls that name no expiry are worth nothing after that."},
      {"priority", "integer", "0 to 9."},
      {"acks_late", "bool", "false: acknowledged when it starts; a crash then loses it."},
      {"ignore_result", "bool", "Keep no result."},
      {"track_started", "bool", "Store the state STARTED."},
      {"description", "text", "Shown by `errand tasks`."},
  };
  return keys;
}

std::vector<TaskSection> read_tasks(const Node& table, const std::string& file, Problems& problems) {
  std::vector<TaskSection> out;
  for (const auto& [name, node] : table.members) {
    const std::string where = file + ":" + std::to_string(node.line);
    if (!node.table) {
      problems.push_back({where, "[tasks] " + quoted(name) + ": expected a table, got " + describe(node.value) +
                                     "; write [tasks.\"name\"] command = [...]"});
      continue;
    }
    // [tasks.media.thumbnail] without quotes is a table in a table.
    const bool nested =
        !node.members.empty() && std::all_of(node.members.begin(), node.members.end(), [](const Node::Member& member) {
          return member.node.table && member.key != "environment";
        });
    if (nested) {
      problems.push_back({where, "[tasks." + name + "." + node.members.front().key +
                                     "]: a name with dots needs quotes; write [tasks.\"" + name + "." +
                                     node.members.front().key + "\"]"});
      continue;
    }
    if (name.empty() || core::escape_controls(name) != name || name.size() > 255) {
      problems.push_back(
          {where, "[tasks] expected a task's name of 1 to 255 bytes without control characters, got " + quoted(name)});
      continue;
    }
    out.push_back(read_task(name, node, file, problems));
  }
  return out;
}

std::vector<RouteSection> read_routes(const Node& table, const std::string& file, Problems& problems) {
  static constexpr Setting kPriority{
      .group = "", .name = "", .type = Type::integer, .fallback = "", .doc = "", .most = 9};
  std::vector<RouteSection> out;
  for (const auto& [pattern, node] : table.members) {
    const std::size_t before = problems.size();
    RouteSection route;
    route.pattern = pattern;
    // A table of its own, so that both forms are read by the same words.
    Node as_table = node;
    if (!node.table) {
      as_table = Node{node.line, true, {}, {Node::Member{"queue", node}}};
    }
    Reader reader(as_table, file, "[routes] " + quoted(pattern) + " ", problems);
    std::optional<std::string> queue;
    reader.key("queue", [&](const Node& given) {
      if (given.table || !given.value.is_text()) Reader::refuse("the name of a queue", given);
      check_queue(given.value.as_text());
      queue = given.value.as_text();
    });
    reader.setting("priority", kPriority,
                   [&](const Value& value) { route.priority = static_cast<int>(value.as_integer()); });
    reader.finish();
    if (!queue && problems.size() == before)
      reader.wrong(node.line, "expected a queue, got none; write \"" + pattern + "\" = \"queue\"");
    route.queue = queue.value_or("");
    if (problems.size() == before) out.push_back(std::move(route));
  }
  return out;
}

std::vector<QueueSpec> read_queues(const Node& table, const std::string& file, Problems& problems) {
  static constexpr Setting kType{
      .group = "", .name = "", .type = Type::choice, .fallback = "", .doc = "", .choices = "direct|topic|fanout"};
  std::vector<QueueSpec> out;
  for (const auto& [name, node] : table.members) {
    QueueSpec queue{name, "", "direct", ""};
    Reader reader(node, file, "[queues." + quoted(name) + "] ", problems);
    if (!node.table) {
      reader.wrong(node.line, "expected a table, got " + describe(node.value) + "; write " + name + " = {}");
      continue;
    }
    if (const std::string mistake = queue_name_mistake(name); !mistake.empty()) reader.wrong(node.line, mistake);
    std::optional<std::string> exchange, key;
    reader.text("exchange", exchange);
    reader.text("routing_key", key);
    reader.setting("exchange_type", kType, [&](const Value& value) { queue.exchange_type = value.as_text(); });
    reader.finish();
    queue.exchange = exchange.value_or("");
    queue.routing_key = key.value_or("");
    out.push_back(std::move(queue));
  }
  return out;
}

}  // namespace errand::config
