// Catalogues: signatures that travel to programs without the code.
#include <errand/catalogue.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>

using namespace errand;
using namespace std::chrono_literals;

namespace shelf {
struct Box {
  int width = 0;
  std::optional<std::string> label;
};
enum class Kind { a4, letter };
}  // namespace shelf
ERRAND_STRUCT(shelf::Box, width, label)
ERRAND_ENUM(shelf::Kind, a4, letter)

namespace {

constexpr Task<std::string(std::string, shelf::Kind, std::vector<shelf::Box>, std::uint8_t, Secret<std::string>)>
    letter{"sanitise-and-upload-letter", {"notification_id", "kind", "boxes", {"copies", 1}, {"token", ""}}};

Registry letters() {
  Registry registry;
  registry.add(
      letter,
      [](std::string id, shelf::Kind, std::vector<shelf::Box>, std::uint8_t, Secret<std::string>) { return id; },
      {.queue = "letters",
       .time_limit = 30s,
       .priority = 4,
       .retry = RetryPolicy::exponential(1s, 1min, 5),
       .retry_on = {never_retry<std::invalid_argument>()},
       .expires = 90s,
       .description = "cleans a letter"});
  return registry;
}

SchemaMap published() { return load_catalogue(parse_json(to_json(catalogue(letters())))); }

std::string refused(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::invalid);
    return error.detail();
  }
  return "fits";
}

}  // namespace

// GN-48: apps send to each other by name, without importing each other's code.
TEST_CASE("GN-48 CP-2: a call by name is checked against a published catalogue as against the code") {
  const SchemaMap known = published();
  const TaskSchema& schema = known.at("sanitise-and-upload-letter");
  const TaskSchema code = letter.schema();
  struct Row {
    const char* args;
    const char* kwargs;
    bool fits;
  };
  const Row rows[] = {
      {R"(["id", "a4", []])", "{}", true},
      {R"(["id", "a4", [{"width": 3}, {"width": 4, "label": "x"}], 255])", "{}", true},
      {R"(["id", "a4"])", R"({"boxes": [], "copies": 2})", true},
      {R"(["id"])", R"({"boxes": []})", false},
      {R"(["id", "a5", []])", "{}", false},
      {R"(["id", "a4", [], 256])", "{}", false},
      {R"(["id", "a4", [], -1])", "{}", false},
      {R"(["id", "a4", [], 1.5])", "{}", false},
      {R"(["id", "a4", [{"label": "x"}]])", "{}", false},
      {R"(["id", "a4", [{"width": 3, "height": 2}]])", "{}", false},
      {R"(["id", "a4", [{"width": "3"}]])", "{}", false},
      {R"([7, "a4", []])", "{}", false},
      {R"(["id", "a4", []])", R"({"copy": 1})", false},
      {R"(["id", "a4", [], 1, "t", "more"])", "{}", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.args);
    CAPTURE(row.kwargs);
    const auto check = [&](const TaskSchema& by) {
      return refused(
          [&] { check_call("letter", by, parse_json(row.args).as_array(), parse_json(row.kwargs).as_object()); });
    };
    CHECK((check(schema) == "fits") == row.fits);
    CHECK((check(code) == "fits") == row.fits);
  }
  CHECK(refused([&] {
          check_call("letter", schema, {"id", "a4", Value::array({Value::object({{"width", "3"}})})}, {});
        }) == "boxes[0].width: expected integer, got text");
  CHECK(refused([&] { check_call("letter", schema, {"id", "a4", Array{}, 256}, {}); }) ==
        "copies: expected 0 to 255, got 256");
}

TEST_CASE("integers at the edge of 64 bits are compared exactly, not as floats") {
  constexpr Task<void(std::int64_t, std::uint64_t)> wide{"wide", {"i", "u"}};
  Registry registry;
  registry.add(wide, [](std::int64_t, std::uint64_t) {});
  const SchemaMap known = load_catalogue(parse_json(to_json(catalogue(registry))));
  const auto check = [&](const char* args) {
    return refused([&] { check_call("wide", known.at("wide"), parse_json(args).as_array(), {}); });
  };
  CHECK(check("[9223372036854775807, 18446744073709551615]") == "fits");
  CHECK(check("[-9223372036854775808, 0]") == "fits");
  CHECK(check("[9223372036854775808, 0]") != "fits");
  CHECK(check("[-9223372036854775809, 0]") != "fits");
  CHECK(check("[0, 18446744073709551616]") != "fits");
}

TEST_CASE("a catalogue tells how a task is sent, retried and limited") {
  const Value entry = *catalogue(letters()).find("tasks")->find("sanitise-and-upload-letter");
  CHECK(*entry.find("queue") == Value("letters"));
  CHECK(*entry.find("priority") == Value(4));
  CHECK(*entry.find("retry") == Value("exp(1s, 1min) x5 jitter"));
  CHECK(to_json(*entry.find("retry_on")) == R"([{"error": "std::invalid_argument", "policy": "none"}])");
  CHECK(*entry.find("time_limit") == Value(30.0));
  CHECK(*entry.find("order") == Value::array({"notification_id", "kind", "boxes", "copies", "token"}));
  CHECK(*entry.find("version") == Value(schema_version(letter.schema())));
  const TaskSchema loaded = published().at("sanitise-and-upload-letter");
  CHECK(loaded.sending.queue == "letters");
  CHECK(loaded.sending.priority == 4);
  CHECK(loaded.sending.expires == 90s);
  CHECK(loaded.parameters[4].secret);
  CHECK_FALSE(loaded.parameters[3].required);
  CHECK(loaded.parameters[3].default_value == Value(1));
  CHECK(describe_task("letter", loaded) ==
        "letter(notification_id: text, kind: a4 | letter, boxes: list of object, copies: integer = 1, token: text = "
        "****) -> text");
}

TEST_CASE("CP-29: the default of a secret stands in no catalogue") {
  static constexpr Task<void(std::string, Secret<std::string>)> login{"login", {"user", {"token", "s3cret"}}};
  Registry registry;
  registry.add(login, [](std::string, Secret<std::string>) {});
  const std::string text = to_json(catalogue(registry));
  CHECK(text.find("s3cret") == std::string::npos);
  const TaskSchema loaded = load_catalogue(parse_json(text)).at("login");
  CHECK_FALSE(loaded.parameters[1].required);
  CHECK_NOTHROW(check_call("login", loaded, {"ann"}, {}));
}

TEST_CASE("CP-3: a stub that agrees with the worker has no differences, and the same version") {
  const TaskSchema loaded = published().at("sanitise-and-upload-letter");
  CHECK(compare_schemas(letter.schema(), loaded).empty());
  CHECK(compare_schemas(loaded, letter.schema()).empty());
  CHECK(schema_version(loaded) == schema_version(letter.schema()));
}

TEST_CASE("CP-3: a stub that disagrees is told where") {
  constexpr Task<int(std::string, int)> ours{"t", {"path", {"width", 200}}};
  struct Row {
    TaskSchema theirs;
    const char* expected;
  };
  constexpr Task<int(std::string, std::string)> other_type{"t", {"path", {"width", "200"}}};
  constexpr Task<int(std::string, int)> other_name{"t", {"path", {"size", 200}}};
  constexpr Task<int(std::string, int)> now_required{"t", {"path", "width"}};
  constexpr Task<int(std::string)> fewer{"t", {"path"}};
  constexpr Task<int(std::string, int, int)> more{"t", {"path", "width", "height"}};
  constexpr Task<int(std::string, int, int)> more_optional{"t", {"path", {"width", 1}, {"height", 1}}};
  constexpr Task<int(std::string, short)> narrower{"t", {"path", {"width", 200}}};
  constexpr Task<void(std::string, int)> other_result{"t", {"path", {"width", 200}}};
  const Row rows[] = {
      {ours.schema(), ""},
      {more_optional.schema(), ""},
      {other_type.schema(), "width: integer here, text there"},
      {other_name.schema(), "parameter 2 is called 'width' here and 'size' there"},
      {now_required.schema(), "width: may be left out here, required there"},
      {fewer.schema(), "width: a parameter here, unknown there"},
      {more.schema(), "width: may be left out here, required there; height: required there, unknown here"},
      {narrower.schema(),
       "width: integer here, integer there ({\"type\": \"integer\", \"minimum\": -2147483648, \"maximum\": 2147483647} "
       "and "
       "{\"type\": \"integer\", \"minimum\": -32768, \"maximum\": 32767})"},
      {other_result.schema(), "result: integer here, null there"},
  };
  for (const Row& row : rows) {
    std::string all;
    for (const std::string& one : compare_schemas(ours.schema(), row.theirs)) all += (all.empty() ? "" : "; ") + one;
    CHECK(all == row.expected);
    // Defaults alone do not part two sides; they change the version all the same.
    CHECK((schema_version(row.theirs) == schema_version(ours.schema())) == (&row == &rows[0]));
  }
}

TEST_CASE("a file that is no catalogue is refused with its path") {
  struct Row {
    const char* json;
    const char* expected;
  };
  const Row rows[] = {
      {"[]", "expected a catalogue of format 1, got no catalogue"},
      {R"({"catalogue": 2, "tasks": {}})", "expected a catalogue of format 1, got 2"},
      {R"({"catalogue": 1})", "catalogue.tasks: expected object, got nothing"},
      {R"({"catalogue": 1, "tasks": {"t": 5}})", "tasks.t.parameters: expected object, got nothing"},
      {R"({"catalogue": 1, "tasks": {"t": {"parameters": {"properties": {"a": {}}}}}})",
       "tasks.t.order: expected each of the 1 parameters once, got 0"},
      {R"({"catalogue": 1, "tasks": {"t": {"parameters": {"properties": {"a": 5}}, "order": ["a"]}}})",
       "tasks.t.parameters.a: expected a schema, got integer"},
      {R"({"catalogue": 1, "tasks": {"t": {"parameters": {"properties": {}}, "order": [], "priority": 11}}})",
       "tasks.t.priority: expected 0 to 9, got 11"},
      {R"({"catalogue": 1, "tasks": {"t": {"parameters": {"properties": {}}, "order": [], "queue": 1}}})",
       "tasks.t.queue: expected text, got integer"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.json);
    const auto load = [&] {
      try {
        static_cast<void>(load_catalogue(parse_json(row.json)));
      } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::invalid);
        const std::string where = error.subject() == "catalogue" ? "" : error.subject() + ": ";
        return where + error.detail();
      }
      return std::string("loaded");
    };
    CHECK(load() == row.expected);
  }
}

TEST_CASE("a schema from outside that is nested without end does not exhaust the stack") {
  Value schema = Value::object({{"type", "integer"}});
  Value value(5);
  for (int i = 0; i < 100; ++i) {
    schema = Value::object({{"type", "array"}, {"items", std::move(schema)}});
    value = Value::array({std::move(value)});
  }
  TaskSchema task;
  task.parameters.push_back(ParameterSchema{.name = "x", .type = "list", .json_schema = schema});
  CHECK(refused([&] { check_call("t", task, {value}, {}); }).find("at most 64 levels") != std::string::npos);
}
