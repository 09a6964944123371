#pragma once
// Catalogues: what a worker's tasks take and return, as JSON, so that programs without the worker's code can have
// their calls by name checked before they are sent (`errand tasks --json` writes one).
//
//   Value json = errand::catalogue(registry);                       // in the worker's program
//   options.catalogue = errand::load_catalogue(parse_json(text));   // in the sender's
//
// Types stand in it as JSON Schema 2020-12.

#include <errand/registry.hpp>
#include <errand/task.hpp>
#include <errand/value.hpp>

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// Task signatures by name.
using SchemaMap = std::map<std::string, TaskSchema, std::less<>>;

/// Most tasks of one catalogue from outside.
inline constexpr std::size_t kMaxCatalogueTasks = 10'000;

/// The signatures of every registered task, checks included, for ClientOptions::catalogue.
SchemaMap schemas(const Registry& registry);

/// {"catalogue": 1, "tasks": {name: {"version", "parameters", "order", "result", "queue", "retry", ...}}}
Value catalogue(const Registry& registry);
/// One task of it. `version` changes exactly when parameters, their types, defaults or the result do.
Value catalogue_entry(const TaskDefinition& definition);

/// Reads what catalogue() wrote, elsewhere or long ago; members it does not know are ignored. Throws Error{invalid}
/// with the path of what is wrong.
SchemaMap load_catalogue(const Value& json);

/// "media.thumbnail(path: text, width: integer = 200) -> integer"
std::string describe_task(std::string_view name, const TaskSchema& schema);
/// 16 hexadecimal digits over parameters and result.
std::string schema_version(const TaskSchema& schema);
/// Where two signatures of one task disagree, one line each; empty: they agree. Defaults that only one side has are
/// no disagreement as long as calls of the one fit the other.
std::vector<std::string> compare_schemas(const TaskSchema& ours, const TaskSchema& theirs);

}  // namespace errand
