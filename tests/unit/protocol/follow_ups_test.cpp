#include "protocol/follow_ups.hpp"
#include "protocol/body.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/task_message.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace errand;
using namespace errand::protocol;

namespace {

const TimePoint kNow = *read_time("2026-11-22T05:43:54.000000+00:00");

TaskMessage parent() {
  TaskMessage task;
  task.task = "parent";
  task.id = "P";
  task.root_id = "R";
  task.reply_to = "reply";
  task.priority = 7;
  return task;
}

struct Options : FollowUpOptions {
  int next = 0;
  Options() {
    now = kNow;
    origin = "gen1@host";
    new_id = [this] { return "new-" + std::to_string(++next); };
  }
};

Value signature(const char* json) { return parse_json(json); }

Embed with_callback(const char* json) {
  Embed embed;
  embed.callbacks = {signature(json)};
  return embed;
}

}  // namespace

TEST_CASE("a callback's options become headers, properties and embed of its message") {
  const Embed embed = with_callback(
      R"({"task": "cb", "args": [2], "kwargs": {"k": 1}, "options": {"task_id": "C", "queue": "media", "priority": 3,
          "countdown": 90, "expires": 60, "time_limit": 30, "soft_time_limit": 20.5, "shadow": "s", "ignore_result": true,
          "headers": {"tenant": "a"}, "link": {"task": "next"}, "link_error": [{"task": "err"}], "app_id": "x",
          "add_to_parent": true, "reply_to": null, "compression": null}, "subtask_type": null, "immutable": false})");
  const FollowUps sent = after_success(parent(), embed, "{\"size\": NaN}", Options());
  REQUIRE(sent.envelopes.size() == 1);
  const Envelope& envelope = sent.envelopes[0];
  CHECK(envelope.route == Route{"", "media"});
  CHECK(envelope.priority == 3);
  CHECK_FALSE(envelope.not_before);
  const TaskMessage task = decode_task(envelope.message);
  CHECK(task.id == "C");
  CHECK(task.root_id == "R");
  CHECK(task.parent_id == "P");
  CHECK(task.eta == kNow + std::chrono::seconds{90});
  CHECK(task.expires == kNow + std::chrono::seconds{60});
  CHECK(task.time_limit == Milliseconds{30'000});
  CHECK(task.soft_time_limit == Milliseconds{20'500});
  CHECK(task.shadow == "s");
  CHECK(task.ignore_result == true);
  CHECK(task.argsrepr == "({'size': nan}, 2)");
  CHECK(task.custom == Object{{"tenant", "a"}});
  CHECK(task.reply_to == "reply");
  CHECK(*envelope.message.properties.find("app_id") == Value("x"));
  CHECK_FALSE(envelope.message.properties.contains("add_to_parent"));
  CHECK(*envelope.message.properties.find("expiration") == Value("60000"));
  const Body body(envelope.message);
  CHECK(body.args_json() == R"([{"size": NaN}, 2])");
  CHECK(body.embed().callbacks.size() == 1);
  CHECK(body.embed().errbacks.size() == 1);
  CHECK(sent.children == Array{parse_json(R"([["C", null], null])")});
}

TEST_CASE("an immutable callback takes no result, and one without an id gets a new one") {
  const FollowUps sent =
      after_success(parent(), with_callback(R"({"task": "cb", "args": [1], "immutable": true})"), "5", Options());
  REQUIRE(sent.envelopes.size() == 1);
  CHECK(Body(sent.envelopes[0].message).args() == Array{1});
  CHECK(decode_task(sent.envelopes[0].message).id == "new-1");
  CHECK(sent.envelopes[0].route == Route{"", "celery"});
}

TEST_CASE("routes, priority and parking are the worker's to choose where the signature names none") {
  Options options;
  options.route = [](std::string_view task) { return Route{"ex", std::string(task)}; };
  options.inherit_priority = true;
  options.park = true;
  const FollowUps sent =
      after_success(parent(), with_callback(R"({"task": "cb", "options": {"countdown": 5}})"), "5", options);
  CHECK(sent.envelopes[0].route == Route{"ex", "cb"});
  CHECK(sent.envelopes[0].priority == 7);
  CHECK(sent.envelopes[0].not_before == kNow + std::chrono::seconds{5});
}

// Section 6.9: what a visitor stamped on a signature arrives as the task's stamps, not as options or properties.
TEST_CASE("stamps of a signature are lifted into headers") {
  Embed embed;
  embed.chain = {signature(R"({"task": "next", "options": {"task_id": "N", "stamped_headers": ["monitoring_id"],
      "monitoring_id": "m-1"}})")};
  const FollowUps sent = after_success(parent(), embed, "5", Options());
  const Object& headers = sent.envelopes.at(0).message.headers;
  CHECK(*headers.find("stamps") == Value::object({{"monitoring_id", "m-1"}}));
  CHECK(*headers.find("stamped_headers") == Value::array({"monitoring_id"}));
  CHECK_FALSE(sent.envelopes[0].message.properties.contains("monitoring_id"));
}

TEST_CASE("the last element of a chain is the next step and the others travel on with it") {
  Embed embed;
  embed.chain = {signature(R"({"task": "third", "options": {"task_id": "3", "group_id": "G", "group_index": 4,
                     "chord": {"task": "body"}}})"),
                 signature(R"({"task": "second", "options": {"task_id": "2"}})")};
  const FollowUps sent = after_success(parent(), embed, "5", Options());
  REQUIRE(sent.envelopes.size() == 1);
  CHECK(decode_task(sent.envelopes[0].message).task == "second");
  const Array rest = Body(sent.envelopes[0].message).embed().chain;
  REQUIRE(rest.size() == 1);
  CHECK(rest[0] == embed.chain[0]);

  const auto waiting = waiting_steps(embed);
  REQUIRE(waiting.size() == 2);
  CHECK(waiting[0].id == "2");
  CHECK(waiting[0].group.empty());
  CHECK(waiting[1].id == "3");
  CHECK(waiting[1].group == "G");
  CHECK(waiting[1].index == 4);
  CHECK(waiting[1].chord == Value::object({{"task", "body"}}));
}

TEST_CASE("chunks are expanded into starmap messages, a chord announces its size") {
  const FollowUps chunks =
      after_success(parent(), with_callback(R"({"task": "celery.chunks", "subtask_type": "chunks", "immutable": true,
          "kwargs": {"task": {"task": "add", "args": [], "kwargs": {}}, "it": [[1, 2], [3, 4], [5, 6]], "n": 2}})"),
                    "5", Options());
  REQUIRE(chunks.envelopes.size() == 2);
  CHECK(*chunks.envelopes[0].message.headers.find("task") == Value("celery.starmap"));
  CHECK(*Body(chunks.envelopes[1].message).kwargs().find("it") == parse_json("[[5, 6]]"));

  const FollowUps chord = after_success(
      parent(), with_callback(R"({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"kwargs": {},
          "header": [{"task": "a"}, {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [{"task": "b"}, {"task": "c"}]}}],
          "body": {"task": "body"}}})"),
      "5", Options());
  REQUIRE(chord.chords.size() == 1);
  CHECK(chord.chords[0].size == 3);
  REQUIRE(chord.envelopes.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const TaskMessage member = decode_task(chord.envelopes[i].message);
    CHECK(member.group == chord.chords[0].group);
    CHECK(member.group_index == static_cast<std::int64_t>(i));
    CHECK(*Body(chord.envelopes[i].message).embed().chord.find("task") == Value("body"));
  }
}

TEST_CASE("a chord without members sends its body at once") {
  const FollowUps sent = after_success(
      parent(),
      with_callback(R"({"task": "celery.chord", "kwargs": {"header": [], "body": {"task": "body", "args": [1]}}})"),
      "5", Options());
  REQUIRE(sent.envelopes.size() == 1);
  CHECK(Body(sent.envelopes[0].message).args_json() == "[[], 1]");
}

TEST_CASE("a chord's body gets the results, or FAILURE under every id that waits for it") {
  const Value body =
      signature(R"({"task": "body", "args": ["own"], "options": {"task_id": "B", "link_error": {"task": "err"}}})");
  const std::vector<std::string> results{"1", "{\"a\": NaN}"};
  const FollowUps sent = chord_body(parent(), body, results, Options());
  CHECK(Body(sent.envelopes.at(0).message).args_json() == R"([[1, {"a": NaN}], "own"])");
  CHECK(decode_task(sent.envelopes[0].message).parent_id == "P");

  const ExceptionInfo cause{"ValueError", "builtins", {"bad", 42}};
  const ChordFailure failure = chord_failed(parent(), body, "M", cause, Options());
  CHECK(failure.ids == std::vector<TaskId>{"B"});
  CHECK(failure.error.text() == "ChordError: Dependency M raised ValueError('bad', 42)");
  CHECK(Body(failure.errbacks.envelopes.at(0).message).args() == Array{"B"});

  const Value group = signature(R"({"task": "celery.group", "kwargs": {"tasks": [
      {"task": "x", "options": {"task_id": "X"}}, {"task": "y", "options": {"task_id": "Y"}}]}})");
  CHECK(chord_failed(parent(), group, "M", cause, Options()).ids == std::vector<TaskId>{"X", "Y"});
}

// F122: hostile signatures end in a typed failure, whatever they ask for.
TEST_CASE("signatures that are none, or too many, are refused") {
  const auto reason_of = [](const Embed& embed) -> std::string {
    try {
      after_success(parent(), embed, "5", Options());
    } catch (const DecodeFailure& failure) {
      return failure.reason();
    }
    return "sent";
  };
  for (const char* json : {R"({})",
                           R"({"task": 5})",
                           R"({"task": ""})",
                           R"({"task": "t", "args": 5})",
                           R"({"task": "t", "kwargs": []})",
                           R"({"task": "t", "options": []})",
                           R"({"task": "t", "options": {"task_id": 5}})",
                           R"({"task": "t", "options": {"link": 5}})",
                           R"({"task": "t", "options": {"eta": "never"}})",
                           R"({"task": "t", "options": {"countdown": "x"}})",
                           R"({"task": "t", "options": {"countdown": NaN}})",
                           R"({"task": "t", "options": {"chord": []}})",
                           R"({"task": "t", "options": {"headers": []}})",
                           R"({"task": "t", "options": {"stamped_headers": "x"}})",
                           R"({"task": "celery.chain"})",
                           R"({"task": "celery.chain", "kwargs": {"tasks": [5]}})",
                           R"({"task": "celery.group", "kwargs": {"tasks": {}}})",
                           R"({"task": "celery.chord", "kwargs": null})",
                           R"({"task": "celery.chord", "kwargs": {"header": 5}})",
                           R"({"task": "celery.chunks", "kwargs": {"task": {}, "it": [], "n": 0}})"}) {
    CAPTURE(json);
    CHECK(reason_of(with_callback(json)) == reason::bad_body);
  }
  std::string many = R"({"task": "celery.chunks", "kwargs": {"task": {"task": "t"}, "n": 1, "it": [)";
  for (std::size_t i = 0; i <= kMaxLinks; ++i) many += i == 0 ? "[]" : ", []";
  many += "]}}";
  CHECK(reason_of(with_callback(many.c_str())) == reason::too_large);

  // One big body in every member of a chord: bounded as a whole.
  Object kwargs{{"header", Value(Array(2000, signature(R"({"task": "t"})")))},
                {"body", Value::object({{"task", "body"}, {"args", Value::array({std::string(100'000, 'x')})}})}};
  Embed amplified;
  amplified.callbacks = {Value::object({{"task", "celery.chord"}, {"kwargs", Value(std::move(kwargs))}})};
  CHECK(reason_of(amplified) == reason::too_large);
}

TEST_CASE("an empty chain or group sends nothing") {
  CHECK(after_success(parent(), with_callback(R"({"task": "celery.chain", "kwargs": {"tasks": []}})"), "5", Options())
            .empty());
  CHECK(after_success(parent(), with_callback(R"({"task": "celery.group", "kwargs": {"tasks": []}})"), "5", Options())
            .empty());
  CHECK(after_success(parent(), {}, "5", Options()).empty());
  CHECK(after_failure(parent(), {}, Options()).empty());
}
