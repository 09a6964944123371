// Binding a message's arguments to a task's parameters: Python's rules, and Python's words when they do not fit,
// because the caller may be Python and shows them.
#include <errand/registry.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

using namespace errand;

namespace {

TaskSchema takes(std::vector<ParameterSchema> parameters) {
  TaskSchema schema;
  schema.parameters = std::move(parameters);
  return schema;
}

ParameterSchema need(std::string name) { return ParameterSchema{.name = std::move(name), .type = "any value"}; }
ParameterSchema with(std::string name, Value fallback) {
  return ParameterSchema{
      .name = std::move(name), .type = "any value", .required = false, .default_value = std::move(fallback)};
}

struct Row {
  const char* python;  // the same parameters as Python writes them
  TaskSchema schema;
  const char* args;
  const char* kwargs;
  const char* expected;  // the bound arguments, or Python's error text
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all{
      {"x, y", takes({need("x"), need("y")}), "[1, 2]", "{}", "[1, 2]"},
      {"x, y", takes({need("x"), need("y")}), "[1]", R"({"y": 2})", "[1, 2]"},
      {"x, y", takes({need("x"), need("y")}), "[]", R"({"y": 2, "x": 1})", "[1, 2]"},
      {"x, y=5", takes({need("x"), with("y", 5)}), "[1]", "{}", "[1, 5]"},
      {"x=1, y=5", takes({with("x", 1), with("y", 5)}), "[]", R"({"y": 6})", "[1, 6]"},
      {"", takes({}), "[]", "{}", "[]"},
      {"x, y", takes({need("x"), need("y")}), "[1]", "{}", "add() missing 1 required positional argument: 'y'"},
      {"x, y", takes({need("x"), need("y")}), "[]", "{}", "add() missing 2 required positional arguments: 'x' and 'y'"},
      {"x, y, z", takes({need("x"), need("y"), need("z")}), "[]", "{}",
       "add() missing 3 required positional arguments: 'x', 'y', and 'z'"},
      {"x, y, z=1", takes({need("x"), need("y"), with("z", 1)}), "[]", R"({"x": 1})",
       "add() missing 1 required positional argument: 'y'"},
      {"x, y", takes({need("x"), need("y")}), "[1, 2, 3]", "{}", "add() takes 2 positional arguments but 3 were given"},
      {"x", takes({need("x")}), "[1, 2]", "{}", "add() takes 1 positional argument but 2 were given"},
      {"", takes({}), "[1]", "{}", "add() takes 0 positional arguments but 1 was given"},
      {"x, y=5", takes({need("x"), with("y", 5)}), "[1, 2, 3]", "{}",
       "add() takes from 1 to 2 positional arguments but 3 were given"},
      {"x=5", takes({with("x", 5)}), "[1, 2]", "{}", "add() takes from 0 to 1 positional arguments but 2 were given"},
      {"x, y", takes({need("x"), need("y")}), "[1, 2]", R"({"z": 3})", "add() got an unexpected keyword argument 'z'"},
      {"x, y", takes({need("x"), need("y")}), "[1, 2]", R"({"y": 3})", "add() got multiple values for argument 'y'"},
      {"x, y", takes({need("x"), need("y")}), "[1]", R"({"x": 3})", "add() got multiple values for argument 'x'"},
      // Which of several mistakes is reported: keywords first.
      {"x, y", takes({need("x"), need("y")}), "[1, 2, 3]", R"({"z": 3})",
       "add() got an unexpected keyword argument 'z'"},
      {"x, y", takes({need("x"), need("y")}), "[]", R"({"z": 3})", "add() got an unexpected keyword argument 'z'"},
      {"x, y", takes({need("x"), need("y")}), "[1, 2, 3]", R"({"x": 3})", "add() got multiple values for argument 'x'"},
  };
  return all;
}

std::string bound(const Row& row, std::string_view task) {
  try {
    return to_json(
        Value(bind_arguments(task, row.schema, parse_json(row.args).as_array(), parse_json(row.kwargs).as_object())));
  } catch (const TaskError& error) {
    CHECK(error.type == "TypeError");
    return error.what();
  }
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[4096];
  while (const std::size_t got = fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, got);
  return pclose(pipe) == 0 ? text : std::string();
}

}  // namespace

TEST_CASE("F118: arguments are bound as Python binds them, with its words for what does not fit") {
  for (const Row& row : rows()) {
    CAPTURE(row.python);
    CAPTURE(row.args);
    CAPTURE(row.kwargs);
    CHECK(bound(row, "tasks.add") == row.expected);
    CHECK(bound(row, "add") == row.expected);
  }
}

TEST_CASE("F118: Python itself says the same") {
  std::string script;
  for (const Row& row : rows()) {
    script += "def add(" + std::string(row.python) + "): return list(locals().values())\n";
    script += "try: print(json.dumps(add(*json.loads('" + std::string(row.args) + "'), **json.loads('" + row.kwargs +
              "'))))\n";
    script += "except TypeError as error: print(error)\n";
  }
  const std::string said = output_of("/usr/bin/python3 - 2>/dev/null <<'EOF'\nimport json\n" + script + "EOF\n");
  if (said.empty()) {
    std::cout << "[skipped] no /usr/bin/python3\n";
    CHECK_MESSAGE(std::getenv("CI") == nullptr, "CI has Python");
    return;
  }
  std::string expected;
  for (const Row& row : rows()) expected += std::string(row.expected) + "\n";
  CHECK(said == expected);
}

TEST_CASE("F118: an argument of the wrong type is a TypeError with its path, not a crash") {
  constexpr Task<int(std::string, std::vector<int>)> add{"tasks.add", {"name", "items"}};
  const TaskDefinition definition =
      define(add, [](std::string, std::vector<int> items) { return static_cast<int>(items.size()); });
  struct NoHost final : ContextHost {
    void progress(std::string_view, const Value&) override {}
    void log(std::string_view) override {}
    std::string_view stop_reason() const noexcept override { return {}; }
    bool soft_limit_passed() const noexcept override { return false; }
    TaskId send(Signature) override { return {}; }
  } host;
  TaskContext context({}, host);
  CHECK(definition.invoke(context, {"n", Value::array({1, 2})}, {}) == Value(2));
  try {
    definition.invoke(context, {"n"}, {{"items", Value::array({1, "two"})}});
    FAIL("it was taken");
  } catch (const TaskError& error) {
    CHECK(error.type == "TypeError");
    CHECK(std::string(error.what()) == "add() items[1]: expected integer, got text");
  }
}
