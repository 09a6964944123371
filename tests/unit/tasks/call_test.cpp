// Calls: what a typed call holds, and how a call by name is checked before it is sent.
#include <errand/retry.hpp>
#include <errand/task.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>

using namespace errand;
using namespace std::chrono_literals;

namespace {

constexpr Task<int(std::string, int)> thumbnail{"media.thumbnail", {"path", {"width", 200}}};
constexpr Task<std::string(std::string, std::string, std::string, std::string)> project{
    "export.project", {"org_slug", "project_slug", "api_key", {"output_type", "xls"}}};
constexpr Task<void(std::uint8_t)> small{"small", {"level"}};
constexpr Task<void(std::string, Secret<std::string>)> login{"login", {"user", "api_key"}};
constexpr Task<void()> nothing{"nothing"};
constexpr Task<void(std::string)> reload{"host.reload", {"site"}, {.queue_required = true, .priority = 7}};
constexpr Task<double(double, std::optional<int>, std::vector<int>)> mixed{"mixed", {"a", "b", "c"}};

std::string refused(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::invalid);
    return error.subject() + ": " + error.detail();
  }
  return "fits";
}

std::string refused(const TaskSchema& schema, Array args, Object kwargs, std::size_t prepended = 0) {
  return refused([&] { check_call("t", schema, args, kwargs, prepended); });
}

}  // namespace

TEST_CASE("a typed call holds name, arguments and options") {
  const Signature call = thumbnail("cat.png", 400).on("media").expires(60s).priority(3);
  CHECK(call.task == "media.thumbnail");
  CHECK(to_json(Value(call.args)) == R"(["cat.png", 400])");
  CHECK(call.kwargs.empty());
  CHECK(call.options.queue == "media");
  CHECK(call.options.expires_in == 60s);
  CHECK(call.options.priority == 3);
  CHECK(nothing().args.empty());
}

TEST_CASE("arguments with a default may be left out, required ones may not") {
  CHECK(to_json(Value(thumbnail("cat.png").args)) == R"(["cat.png"])");
  CHECK(refused([] { static_cast<void>(thumbnail()); }) == "media.thumbnail: path: expected text, it is missing");
}

TEST_CASE("integers of other widths are converted when they fit, and refused when they do not") {
  CHECK(to_json(Value(small(255L).args)) == "[255]");
  CHECK(refused([] { static_cast<void>(small(256)); }) == "small: level: expected 0 to 255, got 256");
  CHECK(refused([] { static_cast<void>(small(-1)); }) == "small: level: expected 0 to 255, got -1");
  CHECK(to_json(Value(mixed(1, 2, std::vector<int>{3}).args)) == "[1.0, 2, [3]]");
  CHECK(to_json(Value(mixed(1.5f, std::nullopt, std::vector<int>{}).args)) == "[1.5, null, []]");
}

TEST_CASE("a call by names is checked when it is built") {
  const auto call = thumbnail.named({{"width", 20}, {"path", "cat.png"}});
  CHECK(call.args.empty());
  CHECK(to_json(Value(call.kwargs)) == R"({"width": 20, "path": "cat.png"})");
  CHECK(refused([] { static_cast<void>(thumbnail.named({{"path", "cat.png"}, {"widht", 20}})); }) ==
        "media.thumbnail: widht: expected a parameter of this task, got another name; did you mean 'width'?");
}

TEST_CASE("CP-29: secret arguments are marked wherever they stand") {
  CHECK(login("ann", "s3cret").secret_args == std::vector<std::size_t>{1});
  CHECK(login.partial("s3cret").secret_args == std::vector<std::size_t>{0});
  CHECK(login.named({{"user", "ann"}, {"api_key", "s3cret"}}).secret_kwargs == std::vector<std::string>{"api_key"});
}

TEST_CASE("a definition says how its task is sent, a call may say otherwise") {
  CHECK(reload("a").queue_required);
  CHECK(reload("a").options.priority == 7);
  CHECK(reload("a").priority(1).options.priority == 1);
  CHECK(reload.schema().sending.queue_required);
}

TEST_CASE("a chain is its first call with the others behind, and has the last one's type") {
  constexpr Task<std::string(int, int)> scale{"scale", {"size", "by"}};
  const Call<std::string> chain = thumbnail("cat.png", 1).then(scale.partial(2));
  CHECK(chain.task == "media.thumbnail");
  REQUIRE(chain.chain.size() == 1);
  CHECK(chain.chain[0].task == "scale");
  CHECK(to_json(Value(chain.chain[0].args)) == "[2]");
}

// CP-2 and F010: the stub of an exporter, called wrongly in every way its users did.
TEST_CASE("CP-2 F010: a wrong call by name names parameter, expected and given") {
  const TaskSchema schema = project.schema();
  struct Row {
    const char* args;
    const char* kwargs;
    const char* expected;
  };
  const Row rows[] = {
      {R"(["o", "p", "k"])", "{}", "fits"},
      {R"(["o", "p", "k", "shp"])", "{}", "fits"},
      {R"(["o"])", R"({"api_key": "k", "project_slug": "p"})", "fits"},
      {R"(["o", "p"])", "{}", "t: api_key: expected text, it is missing"},
      {R"(["o", "p", "k", "shp", "more"])", "{}", "t: expected at most 4 arguments, got 5"},
      {R"(["o", "p", "k"])", R"({"output": "shp"})", "t: output: expected a parameter of this task, got another name"},
      {R"(["o", "p", "k"])", R"({"output_typ": "shp"})",
       "t: output_typ: expected a parameter of this task, got another name; did you mean 'output_type'?"},
      {R"(["o", "p", "k"])", R"({"api_key": "k"})", "t: api_key: expected one value, got two, by position and by name"},
      {R"(["o", "p", 5])", "{}", "t: api_key: expected text, got integer"},
      {R"([])", R"({"org_slug": null, "project_slug": "p", "api_key": "k"})", "t: org_slug: expected text, got null"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.args);
    CAPTURE(row.kwargs);
    CHECK(refused(schema, parse_json(row.args).as_array(), parse_json(row.kwargs).as_object()) == row.expected);
  }
}

// A chain step gets the result of the step before it: it must not be refused for lacking its first argument, and one
// that has all of its arguments already would fail when it runs.
TEST_CASE("a chain step is checked with the argument that comes before its own") {
  const TaskSchema schema = thumbnail.schema();
  CHECK(refused(schema, {200}, {}, 1) == "fits");
  CHECK(refused(schema, {"x"}, {}, 1) == "t: width: expected integer, got text");
  CHECK(refused(schema, {}, {{"width", 3}}, 1) == "fits");
  CHECK(refused(schema, {"cat.png", 200}, {}, 1) ==
        "t: expected at most 2 arguments, got 3 with the result of the task before it; make it immutable if it takes "
        "none");
  CHECK(refused(schema, {}, {{"path", "x"}}, 1) == "t: path: expected one value, got two, by position and by name");
}

TEST_CASE("a task known by name only takes anything") {
  CHECK(refused(TaskSchema{.open = true}, {1, "two"}, {{"three", 3}}) == "fits");
}
