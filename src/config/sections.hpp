#pragma once
// The tables of the file that are not single settings: [tasks."name"], [routes], [queues].

#include "config/toml_file.hpp"

#include <errand/broker.hpp>
#include <errand/registry.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace errand::config {

/// A parameter of a task that is a program.
struct ParameterSection {
  std::string name;
  std::string type = "any";  ///< text | integer | float | bool | list | object | any
  bool required = true;
  Value fallback;
  bool secret = false;
};

/// [tasks."name"]: with `command` a task that is a program; without, other options for a task of this binary.
struct TaskSection {
  std::string name;
  std::string where;  ///< "errand.toml:7"
  std::vector<std::string> command;
  std::optional<std::vector<ParameterSection>> parameters;  ///< nullopt: any arguments
  std::vector<std::pair<std::string, std::string>> environment;
  std::string cwd;                     ///< "": where the worker was started
  std::size_t max_output = 16u << 20;  ///< of standard output, in bytes
  // Unset: as the task's definition says.
  std::optional<std::string> queue;
  std::optional<bool> queue_required, ignore_result, acks_late, track_started;
  std::optional<RetryPolicy> retry;
  std::optional<RateLimit> rate_limit;
  std::optional<Milliseconds> time_limit, soft_time_limit, expires;
  ResourceLimits limits;
  std::optional<int> priority;
  std::optional<std::string> description;
};

/// "media.*" = "media", or { queue = "media", priority = 5 }. In the order of the file; the first that matches wins.
struct RouteSection {
  std::string pattern;
  std::string queue;
  std::optional<int> priority;
};

std::vector<TaskSection> read_tasks(const Node& table, const std::string& file, Problems& problems);
std::vector<RouteSection> read_routes(const Node& table, const std::string& file, Problems& problems);
std::vector<QueueSpec> read_queues(const Node& table, const std::string& file, Problems& problems);

/// A key of a table with its words, for docs/configuration.md.
struct TableKey {
  std::string_view name;
  std::string_view expects;
  std::string_view doc;
};
/// Those of [tasks."name"].
const std::vector<TableKey>& task_keys();

}  // namespace errand::config
