// Calls against signatures: the check before sending, and Python's binding before running.
#include <errand/registry.hpp>

#include "core/text.hpp"
#include "tasks/json_schema.hpp"

#include <algorithm>

namespace errand {

namespace {

constexpr std::size_t kLongestShownName = 100;  // of a parameter's name that came from outside

[[noreturn]] void refuse(std::string_view task, const std::string& detail) {
  throw Error({.kind = ErrorKind::invalid, .operation = "call", .subject = std::string(task), .detail = detail});
}

[[noreturn]] void type_error(std::string_view task, const std::string& detail) {
  throw TaskError("TypeError", std::string(task.substr(task.rfind('.') + 1)) + "() " + detail);
}

void check_argument(std::string_view task, const ParameterSchema& parameter, const Value& value) {
  try {
    if (parameter.check != nullptr) {
      parameter.check(value, parameter.name);
    } else {
      check_json_schema(value, parameter.json_schema, parameter.name);
    }
  } catch (const Error& error) {
    refuse(task, error.detail());
  }
}

const ParameterSchema* parameter_named(const TaskSchema& schema, std::string_view name) {
  const auto found = std::find_if(schema.parameters.begin(), schema.parameters.end(),
                                  [&](const ParameterSchema& parameter) { return parameter.name == name; });
  return found == schema.parameters.end() ? nullptr : &*found;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += names.size() == 2 ? " and " : i + 1 == names.size() ? ", and " : ", ";
    text += "'" + names[i] + "'";
  }
  return text;
}

}  // namespace

void check_call(std::string_view task, const TaskSchema& schema, const Array& args, const Object& kwargs,
                std::size_t prepended) {
  if (schema.open) return;
  const auto& parameters = schema.parameters;
  const std::size_t given = args.size() + prepended;
  if (given > parameters.size()) {
    refuse(task,
           "expected at most " + std::to_string(parameters.size()) +
               (parameters.size() == 1 ? " argument" : " arguments") + ", got " + std::to_string(given) +
               (prepended == 0 ? "" : " with the result of the task before it; make it immutable if it takes none"));
  }
  for (const auto& [name, value] : kwargs) {
    const ParameterSchema* parameter = parameter_named(schema, name);
    if (parameter == nullptr) {
      std::vector<std::string_view> names;
      for (const ParameterSchema& known : parameters) names.push_back(known.name);
      const std::string_view nearest = core::nearest_word(name, names);
      refuse(task, core::escape_controls(core::shorten(name, kLongestShownName)) +
                       ": expected a parameter of this task, got another name" +
                       (nearest.empty() ? std::string() : "; did you mean '" + std::string(nearest) + "'?"));
    }
    if (static_cast<std::size_t>(parameter - parameters.data()) < given) {
      refuse(task, name + ": expected one value, got two, by position and by name");
    }
    check_argument(task, *parameter, value);
  }
  for (std::size_t i = prepended; i < parameters.size(); ++i) {
    if (i < given) {
      check_argument(task, parameters[i], args[i - prepended]);
    } else if (parameters[i].required && !kwargs.contains(parameters[i].name)) {
      refuse(task, parameters[i].name + ": expected " + parameters[i].type + ", it is missing");
    }
  }
}

// The order of CPython's own checks: unknown and doubled keywords, surplus positional, missing. Python prints the
// function's name without its module, so what stands before the last dot of the task's name is left out.
Array bind_arguments(std::string_view task, const TaskSchema& schema, const Array& args, const Object& kwargs) {
  const auto& parameters = schema.parameters;
  for (const auto& [name, value] : kwargs) {
    const ParameterSchema* parameter = parameter_named(schema, name);
    if (parameter == nullptr)
      type_error(task, "got an unexpected keyword argument '" + core::shorten(name, kLongestShownName) + "'");
    if (static_cast<std::size_t>(parameter - parameters.data()) < args.size()) {
      type_error(task, "got multiple values for argument '" + name + "'");
    }
  }
  if (args.size() > parameters.size()) {
    const auto optional = static_cast<std::size_t>(std::count_if(
        parameters.begin(), parameters.end(), [](const ParameterSchema& parameter) { return !parameter.required; }));
    const std::size_t most = parameters.size();
    type_error(task, "takes " + (optional > 0 ? "from " + std::to_string(most - optional) + " to " : std::string()) +
                         std::to_string(most) + " positional argument" + (most == 1 && optional == 0 ? "" : "s") +
                         " but " + std::to_string(args.size()) + (args.size() == 1 ? " was given" : " were given"));
  }
  Array bound;
  bound.reserve(parameters.size());
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (i < args.size()) {
      bound.push_back(args[i]);
    } else if (const Value* named = kwargs.find(parameters[i].name)) {
      bound.push_back(*named);
    } else if (!parameters[i].required) {
      bound.push_back(parameters[i].default_value);
    } else {
      missing.push_back(parameters[i].name);
    }
  }
  if (!missing.empty()) {
    type_error(task, "missing " + std::to_string(missing.size()) + " required positional argument" +
                         (missing.size() == 1 ? ": " : "s: ") + listed(missing));
  }
  return bound;
}

namespace codec {
void refuse_argument(std::string_view task, std::string_view parameter, const std::string& detail) {
  refuse(task, std::string(parameter) + ": " + detail);
}
void bad_argument(std::string_view task, const Error& error) { type_error(task, error.detail()); }
}  // namespace codec

Value default_to_value(const DefaultValue& fallback) {
  struct Visitor {
    Value operator()(std::monostate) const { return Value(); }
    Value operator()(std::nullptr_t) const { return Value(); }
    Value operator()(bool value) const { return Value(value); }
    Value operator()(std::int64_t value) const { return Value(static_cast<long long>(value)); }
    Value operator()(double value) const { return Value(value); }
    Value operator()(std::string_view value) const { return Value(value); }
  };
  return std::visit(Visitor{}, fallback);
}

}  // namespace errand
