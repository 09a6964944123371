// What a client sends, and what it refuses to.
#include "client/routes.hpp"
#include "fakes.hpp"
#include "protocol/body.hpp"

#include <errand/catalogue.hpp>
#include <errand/registry.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <string>

using namespace errand;
using namespace std::chrono_literals;
using fakes::World;

namespace {

constexpr Task<int(int, int)> add{"tasks.add", {"x", "y"}};
constexpr Task<int(int, int)> scale{"tasks.scale", {"size", "by"}};
constexpr Task<std::string(std::string, Secret<std::string>)> export_project{"export.project", {"slug", "api_key"}};
constexpr Task<void(std::string)> reload{"host.reload", {"site"}, {.queue_required = true}};

std::string refused(const std::function<void()>& call, ErrorKind kind = ErrorKind::invalid) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.kind() == kind);
    return error.what();
  }
  return "it was sent";
}

SchemaMap known() {
  Registry registry;
  registry.add(add, [](int x, int y) { return x + y; }, {.queue = "sums", .expires = 60s});
  registry.add(scale, [](int size, int by) { return size * by; });
  registry.add(export_project, [](std::string slug, Secret<std::string>) { return slug; });
  return schemas(registry);
}

Value header(const Envelope& envelope, std::string_view name) {
  const Value* found = envelope.message.headers.find(name);
  return found == nullptr ? Value("absent") : *found;
}

std::string args_of(const Envelope& envelope) { return std::string(protocol::Body(envelope.message).args_json()); }

}  // namespace

TEST_CASE("CP-21 DZ-11: a sent task has an id of its own before anybody stores anything, and is JSON") {
  World world;
  Client client({}, fakes::connections(world));
  const auto result = client.send(add(1, 2));
  const Envelope sent = world.last();
  CHECK(result.id().size() == 36);
  CHECK(header(sent, "id") == Value(result.id()));
  CHECK(header(sent, "task") == Value("tasks.add"));
  CHECK(header(sent, "root_id") == Value(result.id()));
  CHECK(sent.message.content_type == "application/json");
  CHECK(args_of(sent) == "[1, 2]");
  CHECK(sent.route == Route{"", "celery"});
  CHECK(world.declared == std::vector<std::string>{"celery"});
  CHECK(world.backends_opened == 0);
}

TEST_CASE("CP-2 F010 GN-48: a call that does not fit its signature is refused and nothing reaches the broker") {
  World world;
  Client client({.catalogue = known()}, fakes::connections(world));
  CHECK(refused([&] { client.send(Signature("tasks.add", {1})); }) ==
        "call: y: expected integer, it is missing (tasks.add)");
  CHECK(refused([&] { client.send(Signature("tasks.add", {1, "2"})); }) ==
        "call: y: expected integer, got text (tasks.add)");
  CHECK(refused([&] { client.send(Signature("tasks.add", {1, 2, 3})); }) ==
        "call: expected at most 2 arguments, got 3 (tasks.add)");
  CHECK(refused([&] { client.send_many({add(1, 2), Signature("tasks.add", {1})}); }) != "it was sent");
  CHECK(refused([&] { client.send(add(1, 2).then(Signature("tasks.scale", {"3"}))); }) ==
        "call: by: expected integer, got text (tasks.scale)");
  CHECK(refused([&] { client.send(add(1, 2).then(scale(1, 3))); }) != "it was sent");
  CHECK(refused([&] { client.send(add(1, 2).linked(Signature("tasks.scale", {}))); }) ==
        "call: by: expected integer, it is missing (tasks.scale)");
  CHECK(world.brokers_opened == 0);

  CHECK_NOTHROW(client.send(add(1, 2).then(scale.partial(3))));
  CHECK_NOTHROW(client.send(add(1, 2).then(scale(1, 3).as_immutable())));
  CHECK_NOTHROW(client.send(add(1, 2).on_error(Signature("tasks.add", {}))));   // what comes before is not known here
  CHECK_NOTHROW(client.send(Signature("unknown.elsewhere", {1, "anything"})));  // GN-48: no catalogue, no check
}

TEST_CASE("CP-4: strict names refuse what is in no catalogue, open names do not") {
  World world;
  Client strict({.strict_names = true, .catalogue = known()}, fakes::connections(world));
  CHECK(refused([&] { strict.send(Signature("tasks.ad", {1, 2})); }) ==
        "send: expected a task of the catalogue (strict names), got an unknown one; did you mean 'tasks.add'? "
        "(tasks.ad)");
  CHECK(refused([&] { strict.send(add(1, 2).then(Signature("nobody.knows"))); }) != "it was sent");
  CHECK(world.brokers_opened == 0);
  Client open({.catalogue = known()}, fakes::connections(world));
  CHECK_NOTHROW(open.send(Signature("tasks.ad", {1, 2})));
  CHECK(refused([&] { open.send(Signature("")); }) == "send: expected a task name, got none");
}

TEST_CASE("F009: a value without JSON form is refused with its path") {
  World world;
  Client client({.typed_json = false}, fakes::connections(world));
  const auto said = [&](Array args, Object kwargs = {}) {
    return refused([&] { client.send(Signature("t", std::move(args), std::move(kwargs))); });
  };
  CHECK(said({1, Value::array({"ok", "bad \xff"})}).starts_with("send: args[1][1]: expected UTF-8 text"));
  CHECK(said({}, {{"file", Value::object({{"data", Bytes{"x"}}})}})
            .starts_with("send: kwargs.file.data: expected a value that plain JSON can hold"));
  CHECK(said({Value::object({{"__type__", "me"}, {"__value__", 1}})})
            .starts_with("send: args[0]: expected no object with exactly the keys"));
  Value deep(1);
  for (int i = 0; i < 128; ++i) deep = Value::array({std::move(deep)});
  CHECK(said({deep}).starts_with("send: args[0]: expected nesting of at most 127 levels"));
  CHECK(refused([&] {
          client.send(Signature("t").header("label", "\xff"));
        }).starts_with("send: headers.label: expected UTF-8 text"));
  CHECK(world.publishes == 0);
}

// Python's json writes and reads these, so they are values like others between Celery's peers.
TEST_CASE("F009: numbers that only Python's JSON has travel as Python writes them") {
  World world;
  Client client({}, fakes::connections(world));
  client.send(Signature("t", {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity(),
                              BigInteger{"123456789012345678901234567890"}}));
  CHECK(args_of(world.last()) == "[NaN, -Infinity, 123456789012345678901234567890]");
}

TEST_CASE("bytes are typed values only where no Python of unknown age reads") {
  World world;
  Client client({}, fakes::connections(world));
  client.send(Signature("t", {Bytes{"hi"}}));
  CHECK(args_of(world.last()) == R"([{"__type__": "bytes", "__value__": "hi"}])");
  World foreign;
  foreign.traits.foreign_readers = true;
  Client careful({}, fakes::connections(foreign));
  CHECK(refused([&] { careful.send(Signature("t", {Bytes{"hi"}})); }).find("args[0]: ") != std::string::npos);
  Client told({.typed_json = true}, fakes::connections(foreign));
  CHECK_NOTHROW(told.send(Signature("t", {Bytes{"hi"}})));
}

TEST_CASE("CP-30 F008: a message over a limit is refused before a byte is sent, with size, limit and setting") {
  World world;
  ClientOptions options;
  options.transport.max_message_bytes = 1000;
  Client client(options, fakes::connections(world));
  const std::string text(2000, 'x');
  const std::string said = refused([&] { client.send(Signature("t", {text})); });
  CHECK(said.starts_with("send: message: expected at most 1000 bytes (max_message_bytes), got 20"));
  World small;
  small.traits.max_message_bytes = 500;
  Client limited({}, fakes::connections(small));
  CHECK(refused([&] {
          limited.send(Signature("t", {text}));
        }).find("expected at most 500 bytes (the broker's own limit)") != std::string::npos);
  CHECK(world.publishes + small.publishes == 0);
  CHECK_NOTHROW(client.send(Signature("t", {std::string(900, 'x')})));
}

TEST_CASE("CP-24: labels travel as headers and as properties") {
  World world;
  Client client({}, fakes::connections(world));
  client.send(add(1, 2).header("creator_id", 7).header("related_object_id", "42").header("priority", "mine"));
  const Envelope sent = world.last();
  CHECK(header(sent, "creator_id") == Value(7));
  CHECK(*sent.message.properties.find("creator_id") == Value(7));
  CHECK(*sent.message.properties.find("related_object_id") == Value("42"));
  // A label with the name of a standard property stays a header: the property means something to brokers.
  CHECK(header(sent, "priority") == Value("mine"));
  CHECK(*sent.message.properties.find("priority") == Value(0));
  CHECK(refused([&] { client.send(add(1, 2).header("task", "other")); }).find("header 'task'") != std::string::npos);
}

TEST_CASE("CP-29: a secret argument stands in the body and nowhere else") {
  World world;
  Client client({.catalogue = known()}, fakes::connections(world));
  const std::string secret = "s3cret-token";
  client.send(export_project("slug", secret));
  client.send(Signature("export.project", {"slug", secret}));
  client.send(Signature("export.project", {"slug"}, {{"api_key", secret}}));
  client.send(add(1, 2).then(export_project.partial(secret)));
  for (const Envelope& sent : world.sent()) {
    CHECK(sent.message.body.find(secret) != std::string::npos);
    CHECK(to_json(Value(sent.message.headers)).find(secret) == std::string::npos);
    CHECK(to_json(Value(sent.message.properties)).find(secret) == std::string::npos);
  }
  CHECK(header(world.sent()[0], "argsrepr") == Value("('slug', '********')"));
  CHECK(header(world.sent()[2], "kwargsrepr") == Value("{'api_key': '********'}"));
  // Whoever sends the later step takes its repr from the step's options.
  const Value step = protocol::Body(world.sent()[3].message).embed().chain.at(0);
  CHECK(*step.find("options")->find("argsrepr") == Value("(..., '********',)"));
  CHECK(refused([&] { client.send(Signature("export.project", {secret, 5})); }).find(secret) == std::string::npos);
}

TEST_CASE("DZ-4: a task that needs a queue is not sent without one") {
  World world;
  Client client({}, fakes::connections(world));
  CHECK(refused([&] { client.send(reload("site")); }) ==
        "send: queue: expected one in the call, got none; this task has no queue of its own, name it with .on(queue) "
        "(host.reload)");
  CHECK(world.publishes == 0);
  client.send(reload("site").on("appserver_7"));
  CHECK(world.last().route == Route{"", "appserver_7"});
  // By name, when the catalogue says so.
  Registry registry;
  registry.add(reload, [](std::string) {});
  Client by_name({.catalogue = schemas(registry)}, fakes::connections(world));
  CHECK(refused([&] { by_name.send(Signature("host.reload", {"site"})); }) != "it was sent");
  CHECK_NOTHROW(by_name.send(Signature("host.reload", {"site"}).on("appserver_7")));
}

TEST_CASE("a call goes to its own queue, else its task's, else by route, else to the default") {
  ClientOptions options;
  options.default_queue = "main";
  options.routes = {
      {"media.*", "media", 5}, {"media.special", "special", std::nullopt}, {"*.slow", "slow", 1}, {"prio", "", 9}};
  options.catalogue["owned"] =
      TaskSchema{.open = true, .sending = {.queue = "own", .priority = 2, .ignore_result = true, .expires = 30s}};
  options.catalogue["media.owned"] = TaskSchema{.open = true, .sending = {.queue = "own"}};
  struct Row {
    Signature call;
    Route route;
    int priority;
  };
  const Row rows[] = {
      {Signature("other"), {"", "main"}, 0},
      {Signature("media.thumb"), {"", "media"}, 5},
      {Signature("media.thumb").on("mine"), {"", "mine"}, 5},
      {Signature("media.thumb").on("mine").priority(3), {"", "mine"}, 3},
      {Signature("media.special"), {"", "special"}, 0},  // an exact name before a pattern that stands earlier
      {Signature("x.slow"), {"", "slow"}, 1},
      {Signature("prio"), {"", "main"}, 9},
      {Signature("owned"), {"", "own"}, 2},
      {Signature("owned").on("mine"), {"", "mine"}, 2},
      {Signature("media.owned"), {"", "own"}, 5},
  };
  for (const Row& row : rows) {
    CAPTURE(row.call.task);
    Signature call = row.call;
    CHECK(client::route_call(call, options) == row.route);
    CHECK(call.options.priority.value_or(0) == row.priority);
  }
  Signature owned("owned");
  client::route_call(owned, options);
  CHECK(owned.options.ignore_result == true);
  CHECK(owned.options.expires_in == 30s);
  Signature topic("other");
  topic.options.exchange = "events";
  topic.options.routing_key = "a.b";
  CHECK(client::route_call(topic, options) == Route{"events", "a.b"});
}

TEST_CASE("DZ-4: %h in configured queues is this host's name") {
  char host[256] = "";
  REQUIRE(gethostname(host, sizeof host - 1) == 0);
  ClientOptions options;
  options.default_queue = "appserver_%h";
  Signature call("t");
  CHECK(client::route_call(call, options) == Route{"", std::string("appserver_") + host});
}

TEST_CASE("a queue name that cannot be one is refused") {
  World world;
  Client client({}, fakes::connections(world));
  CHECK(refused([&] { client.send(add(1, 2).on("a\nb")); }).find("control characters") != std::string::npos);
  CHECK(refused([&] { client.send(add(1, 2).on(std::string(256, 'q'))); }).find("a longer one") != std::string::npos);
  CHECK(refused([&] { client.send(add(1, 2).priority(10)); }) == "send: priority: expected 0 to 9, got 10 (tasks.add)");
  CHECK(refused([&] { client.send(add(1, 2).time_limit(1s).soft_time_limit(2s)); }).find("soft_time_limit") !=
        std::string::npos);
  CHECK(refused([&] { client.send(add(1, 2).compressed("rar")); }).find("got 'rar'") != std::string::npos);
  CHECK(refused([&] { Client wrong({.default_queue = ""}, fakes::connections(world)); }).find("got none") !=
        std::string::npos);
  CHECK(world.publishes == 0);
}

// A worker in Python looks into the queue only: it would never find a message that Errand parked beside it.
TEST_CASE("a task that is not due is parked at the broker, but not where Python reads") {
  World world;
  const auto clock = std::make_shared<ManualClock>();
  Client client({}, fakes::connections(world, clock));
  client.send(add(1, 2).countdown(90s));
  CHECK(world.last().not_before == clock->now() + 90s);
  client.send(add(1, 2).eta(clock->now() - 1s));
  CHECK_FALSE(world.last().not_before.has_value());
  world.traits.foreign_readers = true;
  Client mixed({}, fakes::connections(world, clock));
  mixed.send(add(1, 2).countdown(90s));
  CHECK_FALSE(world.last().not_before.has_value());
  CHECK(header(world.last(), "eta") == Value(Codec<TimePoint>::encode(clock->now() + 90s)));
}

TEST_CASE("many calls are one publish, in order, with an id each") {
  World world;
  Client client({}, fakes::connections(world));
  const auto results = client.send_many({add(1, 1), add(2, 2).on("other"), add(3, 3)});
  CHECK(world.publishes == 1);
  REQUIRE(world.batches.size() == 1);
  REQUIRE(results.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(header(world.batches[0][i], "id") == Value(results[i].id()));
  CHECK(world.declared == std::vector<std::string>{"celery", "other"});
  CHECK(client.send_many({}).empty());
  CHECK(world.publishes == 1);
}

TEST_CASE("of a chain the first step is sent, the handle is the last step's, and its parents are the others") {
  World world;
  Client client({}, fakes::connections(world));
  const auto last = client.send(add(1, 2).then(scale.partial(3)).then(scale.partial(4).on("far")));
  const Envelope sent = world.last();
  CHECK(header(sent, "task") == Value("tasks.add"));
  const Array chain = protocol::Body(sent.message).embed().chain;
  REQUIRE(chain.size() == 2);  // reversed: the next step is the last element
  CHECK(*chain[0].find("options")->find("task_id") == Value(last.id()));
  CHECK(*chain[0].find("options")->find("queue") == Value("far"));
  CHECK(chain[1].find("options")->find("queue") == nullptr);  // the worker's own routing decides
  REQUIRE(last.parent().has_value());
  CHECK(*chain[1].find("options")->find("task_id") == Value(last.parent()->id()));
  CHECK(header(sent, "id") == Value(last.parent()->parent()->id()));
  CHECK_FALSE(last.parent()->parent()->parent().has_value());

  Client elsewhere({.default_queue = "main", .routes = {{"tasks.scale", "scales", std::nullopt}}},
                   fakes::connections(world));
  elsewhere.send(add(1, 2).then(scale.partial(3)).then(add.partial(4)));
  const Array routed = protocol::Body(world.last().message).embed().chain;
  CHECK(*routed[1].find("options")->find("queue") == Value("scales"));
  CHECK(*routed[0].find("options")->find("queue") == Value("main"));
}

TEST_CASE("members of a group know its id and their place") {
  World world;
  Client client({}, fakes::connections(world));
  const GroupResult group = client.send_group({add(1, 1), add(2, 2).then(scale.partial(2))});
  REQUIRE(world.batches.size() == 1);
  CHECK(header(world.batches[0][0], "group") == Value(group.id()));
  CHECK(header(world.batches[0][0], "group_index") == Value(0));
  const Value step = protocol::Body(world.batches[0][1].message).embed().chain.at(0);
  CHECK(*step.find("options")->find("group_id") == Value(group.id()));
  CHECK(*step.find("options")->find("group_index") == Value(1));
  CHECK(*step.find("options")->find("task_id") == Value(group.results()[1].id()));
}

TEST_CASE("a revoke is Celery's broadcast, and is refused where none is heard") {
  World world;
  Client client({}, fakes::connections(world));
  client.revoke(TaskId("t1"));
  const std::vector<TaskId> two{"t1", "t2"};
  client.revoke(two, true, "SIGKILL");
  REQUIRE(world.broadcasts.size() == 2);
  CHECK(world.broadcasts[0].route == Route{"celery.pidbox", ""});
  CHECK(world.broadcasts[0].message.body ==
        R"({"method": "revoke", "arguments": {"task_id": "t1", "terminate": false, "signal": "SIGTERM"}, )"
        R"("destination": null, "pattern": null, "matcher": null})");
  CHECK(world.broadcasts[1].message.body.find(R"("task_id": ["t1", "t2"], "terminate": true, "signal": "SIGKILL")") !=
        std::string::npos);
  world.traits.fanout = false;
  Client alone({}, fakes::connections(world));
  CHECK(refused([&] { alone.revoke(TaskId("t1")); }, ErrorKind::unsupported).find("no broadcast") != std::string::npos);
}
