#include <errand/catalogue.hpp>

#include "tasks/json_schema.hpp"
#include "value/or_null.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace errand {

namespace {

constexpr int kFormat = 1;

[[noreturn]] void refuse(const std::string& where, const std::string& detail) {
  throw Error({.kind = ErrorKind::invalid, .operation = "catalogue", .subject = where, .detail = detail});
}

Value seconds_or_null(const std::optional<Milliseconds>& duration) {
  if (!duration) return {};
  return Value(static_cast<double>(duration->count()) / 1000);
}

Value priority_or_null(const std::optional<int>& priority) { return priority ? Value(*priority) : Value(); }

// Parameters as the JSON Schema of the object of all keyword arguments.
Value parameters_schema(const TaskSchema& schema) {
  Object properties;
  Array required;
  for (const ParameterSchema& parameter : schema.parameters) {
    Value type = parameter.json_schema.is_object() ? parameter.json_schema : Value(Object{});
    // A secret's default is one, too (CP-29): catalogues are shown to everybody.
    if (!parameter.required && !parameter.secret) type.as_object().set("default", parameter.default_value);
    if (parameter.secret) type.as_object().set("writeOnly", true);
    properties.set(parameter.name, std::move(type));
    if (parameter.required) required.emplace_back(parameter.name);
  }
  return Value::object({{"type", "object"},
                        {"properties", Value(std::move(properties))},
                        {"required", Value(std::move(required))},
                        {"additionalProperties", schema.open}});
}

Array order_of(const TaskSchema& schema) {
  Array order;
  for (const ParameterSchema& parameter : schema.parameters) order.emplace_back(parameter.name);
  return order;
}

// Readers of one member each: absent and null are the fallback, another kind is refused with its path.
std::string text_member(const Value& from, const char* name, const std::string& where) {
  const Value* found = from.find(name);
  if (found == nullptr || found->is_null()) return {};
  if (found->if_text() == nullptr)
    refuse(where + "." + name, "expected text, got " + std::string(kind_name(found->kind())));
  return *found->if_text();
}

bool flag_member(const Value& from, const char* name, const std::string& where) {
  const Value* found = from.find(name);
  if (found == nullptr || found->is_null()) return false;
  if (found->if_bool() == nullptr)
    refuse(where + "." + name, "expected bool, got " + std::string(kind_name(found->kind())));
  return *found->if_bool();
}

const Object& object_member(const Value& from, const char* name, std::string_view where) {
  const Value* found = from.find(name);
  if (found == nullptr || found->if_object() == nullptr) {
    refuse(
        std::string(where) + "." + name,
        "expected object, got " + (found == nullptr ? std::string("nothing") : std::string(kind_name(found->kind()))));
  }
  return *found->if_object();
}

ParameterSchema read_parameter(const std::string& name, const Value& type, bool required) {
  ParameterSchema parameter;
  parameter.name = name;
  parameter.json_schema = type;
  parameter.required = required;
  if (const Value* fallback = type.find("default")) {
    parameter.default_value = *fallback;
    parameter.json_schema.as_object().erase("default");
  }
  if (const Value* secret = type.find("writeOnly"); secret != nullptr && secret->if_bool() != nullptr) {
    parameter.secret = *secret->if_bool();
  }
  parameter.type = schema_words(parameter.json_schema);
  return parameter;
}

TaskSchema read_task(const Value& json, const std::string& where) {
  TaskSchema schema;
  const Value parameters(object_member(json, "parameters", where));
  const Object& properties = object_member(parameters, "properties", where + ".parameters");
  schema.open = flag_member(parameters, "additionalProperties", where + ".parameters");
  std::vector<std::string> order;
  if (const Value* given = json.find("order"); given != nullptr && given->if_array() != nullptr) {
    for (const Value& name : *given->if_array()) {
      if (name.if_text() == nullptr || !properties.contains(*name.if_text())) {
        refuse(where + ".order", "expected the names of the parameters, got " + to_json(name));
      }
      order.push_back(*name.if_text());
    }
  }
  if (order.size() != properties.size()) {
    refuse(where + ".order", "expected each of the " + std::to_string(properties.size()) + " parameters once, got " +
                                 std::to_string(order.size()));
  }
  const Value* required = parameters.find("required");
  for (const std::string& name : order) {
    bool must = false;
    if (required != nullptr && required->if_array() != nullptr) {
      for (const Value& one : *required->if_array()) must = must || one == Value(name);
    }
    const Value& type = properties.at(name);
    if (!type.is_object())
      refuse(where + ".parameters." + name, "expected a schema, got " + std::string(kind_name(type.kind())));
    schema.parameters.push_back(read_parameter(name, type, must));
  }
  if (const Value* result = json.find("result"); result != nullptr && result->is_object())
    schema.result_json_schema = *result;
  schema.result_type = schema_words(schema.result_json_schema);
  schema.sending.queue = text_member(json, "queue", where);
  schema.sending.queue_required = flag_member(json, "queue_required", where);
  if (flag_member(json, "ignore_result", where)) schema.sending.ignore_result = true;
  if (const Value* priority = json.find("priority"); priority != nullptr && priority->if_integer() != nullptr) {
    const std::int64_t value = *priority->if_integer();
    if (value < 0 || value > 9) refuse(where + ".priority", "expected 0 to 9, got " + std::to_string(value));
    schema.sending.priority = static_cast<int>(value);
  }
  if (const Value* expires = json.find("expires"); expires != nullptr && !expires->is_null()) {
    schema.sending.expires = Codec<Milliseconds>::decode(*expires, where + ".expires");
  }
  return schema;
}

std::string shown_default(const ParameterSchema& parameter) {
  return parameter.secret ? std::string("****") : to_json(parameter.default_value);
}

}  // namespace

std::string schema_version(const TaskSchema& schema) {
  const std::string text =
      to_json(Value::array({parameters_schema(schema), Value(order_of(schema)), schema.result_json_schema}));
  std::uint64_t hash = 14'695'981'039'346'656'037u;  // FNV-1a: names a version, protects nothing
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211u;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4) digits += kHex[hash >> shift & 15];
  return digits;
}

Value catalogue_entry(const TaskDefinition& definition) {
  const TaskOptions& options = definition.options;
  Array rules;
  for (const RetryRule& rule : options.retry_on) {
    rules.push_back(Value::object({{"error", rule.describes}, {"policy", rule.policy.describe()}}));
  }
  return Value::object({{"version", schema_version(definition.schema)},
                        {"description", options.description},
                        {"parameters", parameters_schema(definition.schema)},
                        {"order", Value(order_of(definition.schema))},
                        {"result", definition.schema.result_json_schema},
                        {"queue", text_or_null(options.queue)},
                        {"queue_required", options.queue_required},
                        {"priority", priority_or_null(options.priority)},
                        {"expires", seconds_or_null(options.expires)},
                        {"ignore_result", options.ignore_result},
                        {"acks_late", options.acks_late},
                        {"track_started", options.track_started},
                        {"retry", options.retry.describe()},
                        {"retry_on", Value(std::move(rules))},
                        {"rate_limit", options.rate_limit.describe()},
                        {"time_limit", seconds_or_null(options.time_limit)},
                        {"soft_time_limit", seconds_or_null(options.soft_time_limit)}});
}

Value catalogue(const Registry& registry) {
  Object tasks;
  for (const TaskDefinition* definition : registry.all()) tasks.set(definition->name, catalogue_entry(*definition));
  return Value::object({{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                        {"catalogue", kFormat},
                        {"tasks", Value(std::move(tasks))}});
}

SchemaMap schemas(const Registry& registry) {
  SchemaMap known;
  for (const TaskDefinition* definition : registry.all()) known.emplace(definition->name, definition->schema);
  return known;
}

SchemaMap load_catalogue(const Value& json) {
  const Value* format = json.find("catalogue");
  if (format == nullptr || *format != Value(kFormat)) {
    refuse("catalogue", "expected a catalogue of format " + std::to_string(kFormat) + ", got " +
                            (format == nullptr ? std::string("no catalogue") : to_json(*format)));
  }
  const Object& tasks = object_member(json, "tasks", "catalogue");
  if (tasks.size() > kMaxCatalogueTasks) {
    refuse("catalogue.tasks",
           "expected at most " + std::to_string(kMaxCatalogueTasks) + " tasks, got " + std::to_string(tasks.size()));
  }
  SchemaMap known;
  for (const auto& [name, task] : tasks) known.emplace(name, read_task(task, "tasks." + name));
  return known;
}

std::string describe_task(std::string_view name, const TaskSchema& schema) {
  std::string text(name);
  text += '(';
  for (const ParameterSchema& parameter : schema.parameters) {
    if (text.back() != '(') text += ", ";
    text += parameter.name + ": " + parameter.type;
    if (!parameter.required) text += " = " + shown_default(parameter);
  }
  if (schema.open) text += text.back() == '(' ? "..." : ", ...";
  text += ')';
  if (!schema.result_type.empty()) text += " -> " + schema.result_type;
  return text;
}

std::vector<std::string> compare_schemas(const TaskSchema& ours, const TaskSchema& theirs) {
  std::vector<std::string> differences;
  if (ours.open || theirs.open) return differences;
  const std::size_t common = std::min(ours.parameters.size(), theirs.parameters.size());
  for (std::size_t i = 0; i < common; ++i) {
    const ParameterSchema& a = ours.parameters[i];
    const ParameterSchema& b = theirs.parameters[i];
    const std::string place = "parameter " + std::to_string(i + 1);
    if (a.name != b.name) {
      differences.push_back(place + " is called '" + a.name + "' here and '" + b.name + "' there");
      continue;
    }
    if (a.json_schema != b.json_schema) {
      differences.push_back(
          a.name + ": " + a.type + " here, " + b.type + " there" +
          (a.type == b.type ? " (" + to_json(a.json_schema) + " and " + to_json(b.json_schema) + ")" : ""));
    }
    if (!a.required && b.required) differences.push_back(a.name + ": may be left out here, required there");
  }
  for (std::size_t i = common; i < ours.parameters.size(); ++i) {
    differences.push_back(ours.parameters[i].name + ": a parameter here, unknown there");
  }
  for (std::size_t i = common; i < theirs.parameters.size(); ++i) {
    if (theirs.parameters[i].required)
      differences.push_back(theirs.parameters[i].name + ": required there, unknown here");
  }
  if (ours.result_json_schema != theirs.result_json_schema) {
    differences.push_back("result: " + ours.result_type + " here, " + theirs.result_type + " there");
  }
  return differences;
}

}  // namespace errand
