#include "protocol/task_message.hpp"
#include "protocol/body.hpp"
#include "protocol/compression.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/signature_json.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

using namespace errand;
using namespace errand::protocol;
using namespace std::chrono_literals;

namespace {

const TimePoint kNow = *read_time("2026-11-22T05:43:54.166995+00:00");

Message minimal() {
  Message message;
  message.headers = Object{{"task", "proj.add"}, {"id", "t-1"}};
  message.body = "[[2, 3], {}, {}]";
  return message;
}

std::string failure_of(std::string_view header, Value value) {
  Message message = minimal();
  message.headers.set(std::string(header), std::move(value));
  try {
    decode_task(message);
  } catch (const DecodeFailure& failure) {
    return failure.reason() + " " + failure.line();
  }
  return "read";
}

Message protocol1(std::string_view body) {
  Message message;
  message.body = body;
  return message;
}

std::string failure_of(Message message) {
  const Message before = message;
  try {
    decode_task(message);
  } catch (const DecodeFailure& failure) {
    CHECK(message.body == before.body);
    CHECK(message.headers == before.headers);
    return failure.reason() + " " + failure.line();
  }
  return "read";
}

SenderInfo sender() { return {.now = kNow, .origin = "gen1@host", .reply_to = "reply"}; }

}  // namespace

TEST_CASE("a name and an id are enough for a task") {
  const TaskMessage task = decode_task(static_cast<const Message&>(minimal()));
  CHECK(task.task == "proj.add");
  CHECK(task.id == "t-1");
  CHECK(task.retries == 0);
  CHECK_FALSE(task.eta);
  CHECK_FALSE(task.time_limit);
  CHECK(task.custom.empty());
}

TEST_CASE("every header of protocol 2 is read, and unknown ones are kept in order") {
  Message message = minimal();
  message.headers = parse_json(R"j({"lang": "py", "task": "a", "zeta": 1, "id": "b", "shadow": "s",
      "eta": "2026-11-22T05:43:54.166995+00:00", "expires": "2026-11-22 07:43:54.166995", "group": "g", "group_index": 3,
      "retries": 2, "timelimit": [10, 0.5], "root_id": "r", "parent_id": "p", "argsrepr": "()", "kwargsrepr": "{}",
      "origin": "gen1@h", "ignore_result": true, "replaced_task_nesting": 1, "stamped_headers": ["m"],
      "stamps": {"m": 1}, "alpha": null})j")
                        .as_object();
  message.properties = Object{{"reply_to", "q"}, {"correlation_id", "c"}, {"priority", 7}};
  const TaskMessage task = decode_task(message);
  CHECK(task.shadow == "s");
  CHECK(task.eta == kNow);
  CHECK(task.expires == kNow + 2h);
  CHECK(task.group == "g");
  CHECK(task.group_index == 3);
  CHECK(task.retries == 2);
  CHECK(task.time_limit == 10s);
  CHECK(task.soft_time_limit == 500ms);
  CHECK(task.ignore_result == true);
  CHECK(task.replaced_task_nesting == 1);
  CHECK(task.stamped_headers == std::vector<std::string>{"m"});
  CHECK(task.stamps == Object{{"m", 1}});
  CHECK(task.reply_to == "q");
  CHECK(task.priority == 7);
  REQUIRE(task.custom.size() == 2);
  CHECK(task.custom.begin()->first == "zeta");
}

// F119: the dead letter names the field, what was expected and what came.
TEST_CASE("a header of the wrong type is named with what was expected and what came") {
  CHECK(failure_of("retries", "x") == "BAD_HEADER retries: expected integer or null, got text 'x'");
  CHECK(failure_of("retries", -1) == "BAD_HEADER retries: expected integer from 0 to 4294967295, got integer -1");
  CHECK(failure_of("retries", 1.5) == "BAD_HEADER retries: expected integer or null, got float 1.5");
  CHECK(failure_of("eta", 5) == "BAD_HEADER eta: expected ISO 8601 time or null, got integer 5");
  CHECK(failure_of("eta", "tomorrow") ==
        "BAD_HEADER eta: expected ISO 8601 time such as 2026-11-22T05:43:54+00:00, got text 'tomorrow'");
  CHECK(failure_of("expires", "0000-00-00T00:00:00").starts_with("BAD_HEADER expires"));
  CHECK(failure_of("timelimit", Value::object()) ==
        "BAD_HEADER timelimit: expected [hard, soft] in seconds or null, got object");
  CHECK(failure_of("timelimit", Value::array({1})) ==
        "BAD_HEADER timelimit: expected [hard, soft] in seconds or null, got array");
  CHECK(failure_of("timelimit", Value::array({-1, Value()})) ==
        "BAD_HEADER timelimit: expected seconds from 0, got integer -1");
  CHECK(failure_of("id", 7) == "BAD_HEADER id: expected text that is not empty, got integer 7");
  CHECK(failure_of("id", "") == "BAD_HEADER id: expected text that is not empty, got text ''");
  CHECK(failure_of("task", Value()) == "BAD_HEADER task: expected text that is not empty, got null");
  CHECK(failure_of("group_index", true) == "BAD_HEADER group_index: expected integer or null, got bool true");
  CHECK(failure_of("stamps", "x") == "BAD_HEADER stamps: expected object or null, got text 'x'");
  CHECK(failure_of("stamped_headers", Value::array({1})) ==
        "BAD_HEADER stamped_headers: expected array of text, got integer 1");
  Message without_id = minimal();
  without_id.headers.erase("id");
  CHECK(failure_of(without_id) == "BAD_HEADER id: expected text, but the header is missing");
}

TEST_CASE("limits of null, zero and a hundred years are none, none and a hundred years") {
  Message message = minimal();
  message.headers.set("timelimit", Value());
  CHECK_FALSE(decode_task(message).time_limit);
  message.headers.set("timelimit", Value::array({0, Value()}));
  CHECK_FALSE(decode_task(message).time_limit);
  message.headers.set("timelimit", Value::array({1e300, 0.0001}));
  CHECK(decode_task(message).time_limit == kLongestLimit);
  CHECK(decode_task(message).soft_time_limit == 1ms);
}

TEST_CASE("a protocol 1 message becomes protocol 2 in place") {
  Message message =
      protocol1(R"({"task": "proj.add", "id": "t", "args": [2, "x"], "kwargs": {"k": null}, "group": "old",
      "taskset": "g", "group_index": 1, "retries": 3, "eta": "2026-11-22T05:43:54.166995", "expires": null, "utc": true,
      "callbacks": [{"task": "cb", "args": [], "kwargs": {}, "options": {"link": [{"task": "cb2"}]}}], "errbacks": null,
      "timelimit": [null, 4], "chord": {"task": "body"}})");
  const TaskMessage task = decode_task(message);
  CHECK(task.task == "proj.add");
  CHECK(task.group == "g");
  CHECK(task.group_index == 1);
  CHECK(task.retries == 3);
  CHECK(task.eta == kNow);
  CHECK(task.soft_time_limit == 4s);
  CHECK(task.root_id == "t");
  CHECK(task.argsrepr == "(2, 'x')");
  const Body body(message);
  CHECK(body.args() == Array{2, "x"});
  CHECK(body.kwargs() == Object{{"k", Value()}});
  REQUIRE(body.embed().callbacks.size() == 1);
  CHECK(body.embed().callbacks[0].find("options")->find("link") != nullptr);
  CHECK(body.embed().chord == Value::object({{"task", "body"}}));
  // What was rewritten reads as what it now is.
  CHECK(decode_task(static_cast<const Message&>(message)).retries == 3);
}

TEST_CASE("protocol 1 tolerates what it may leave out, and compression") {
  Message message = protocol1(compress(Compression::zlib, R"({"task": "t", "id": "i"})"));
  message.headers.set("compression", "application/x-gzip");
  CHECK(decode_task(message).retries == 0);
  CHECK(message.body.starts_with("[[], {}, "));
  CHECK_FALSE(message.headers.contains("compression"));
}

// A sender with enable_utc off writes local time; what it meant is the local time of its reader.
TEST_CASE("protocol 1 times without offset are local when the message says so, and UTC otherwise") {
  const char* before = std::getenv("TZ");
  const std::string saved = before != nullptr ? before : "";
  ::setenv("TZ", "XYZ-9", 1);  // nine hours east of UTC, without any zone file
  ::tzset();
  const auto eta_of = [](std::string_view text, const char* utc) {
    Message message =
        protocol1(R"({"task": "t", "id": "i", "eta": ")" + std::string(text) + R"(", "utc": )" + utc + "}");
    return decode_task(message).eta;
  };
  CHECK(eta_of("2026-11-22T14:43:54.166995", "false") == kNow);
  CHECK(eta_of("2026-11-22T05:43:54.166995", "true") == kNow);
  CHECK(eta_of("2026-11-22T05:43:54.166995+00:00", "false") == kNow);
  if (before != nullptr) {
    ::setenv("TZ", saved.c_str(), 1);
  } else {
    ::unsetenv("TZ");
  }
  ::tzset();
}

TEST_CASE("a hybrid message has protocol 2 headers, which win over its body") {
  Message message = protocol1(R"({"task": "body", "id": "body", "args": [1], "kwargs": {}, "retries": 9})");
  message.headers = Object{{"task", "header"}, {"id", "header"}, {"custom", 1}};
  const TaskMessage task = decode_task(message);
  CHECK(task.task == "header");
  CHECK(task.id == "header");
  CHECK(task.retries == 9);
  CHECK(task.custom == Object{{"custom", 1}});
}

TEST_CASE("messages that are no tasks stay as they came and say why") {
  CHECK(failure_of(protocol1("{}")) ==
        "NOT_A_TASK body: expected a task (headers or body with `task` and `id`), got neither");
  CHECK(failure_of(protocol1("[]")) == "NOT_A_TASK body: expected a header `task` or an object as body, got array");
  CHECK(failure_of(protocol1("nonsense")).starts_with("UNDECODABLE body"));
  CHECK(failure_of(protocol1(R"({"task": "t", "id": "i", "args": {"x": 1}})")) ==
        "BAD_BODY args: expected array, got object");
  CHECK(failure_of(protocol1(R"({"task": "t", "id": "i", "kwargs": [1]})")) ==
        "BAD_BODY kwargs: expected object, got array");
  CHECK(failure_of(protocol1(R"({"task": "t", "id": "i", "chord": []})")) ==
        "BAD_BODY embed.chord: expected object or null, got array");
  CHECK(failure_of(protocol1(R"({"task": "t"})")).starts_with("BAD_HEADER id"));
  Message pickled = protocol1("\x80\x04");
  pickled.content_type = "application/x-python-serialize";
  CHECK(failure_of(pickled).starts_with("CONTENT_DISALLOWED"));
}

TEST_CASE("a call carries every header a peer may index, null when unset") {
  Signature call("proj.add", {2, "x"}, {{"k", 1}});
  call.options.task_id = "t-1";
  const Message message = encode_task(call, sender());
  CHECK(
      to_json(Value(message.headers)) ==
      R"({"lang": "cpp", "task": "proj.add", "id": "t-1", "shadow": null, "eta": null, "expires": null, "group": null, )"
      R"("group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "t-1", "parent_id": null, )"
      R"j("argsrepr": "(2, 'x')", "kwargsrepr": "{'k': 1}", "origin": "gen1@host", "ignore_result": false, )j"
      R"("replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}})");
  CHECK(to_json(Value(message.properties)) ==
        R"({"correlation_id": "t-1", "reply_to": "reply", "delivery_mode": 2, "priority": 0})");
  CHECK(decode_task(static_cast<const Message&>(message)).task == "proj.add");
}

TEST_CASE("times, limits and options of a call are on the wire as Celery writes them") {
  Signature call("t", {"password"}, {{"token", "abc"}});
  call.options.task_id = "i";
  call.options.countdown = 90s;
  call.options.expires_in = 2h;
  call.options.time_limit = 10s;
  call.options.soft_time_limit = 1500ms;
  call.options.priority = 7;
  call.options.headers = Object{{"tenant", "a"}};
  call.secret_args = {0};
  call.secret_kwargs = {"token"};
  const Message message = encode_task(call, sender());
  CHECK(*message.headers.find("eta") == Value("2026-11-22T05:45:24.166995+00:00"));
  CHECK(*message.headers.find("expires") == Value("2026-11-22T07:43:54.166995+00:00"));
  CHECK(*message.headers.find("timelimit") == Value::array({10, 1.5}));
  CHECK(*message.headers.find("argsrepr") == Value("('********',)"));
  CHECK(*message.headers.find("kwargsrepr") == Value("{'token': '********'}"));
  CHECK(*message.headers.find("tenant") == Value("a"));
  CHECK(*message.properties.find("expiration") == Value("7200000"));
  CHECK(*message.properties.find("priority") == Value(7));
}

TEST_CASE("a call without name, id or known compression is refused before it is sent") {
  Signature call("t");
  CHECK_THROWS_AS(encode_task(call, sender()), Error);
  call.options.task_id = "i";
  call.options.compression = "rot13";
  CHECK_THROWS_WITH_AS(encode_task(call, sender()), doctest::Contains("rot13"), Error);
  call.task.clear();
  CHECK_THROWS_AS(encode_task(call, sender()), Error);
}

TEST_CASE("a compressed call says so, unless a reader's ratio limit would refuse it") {
  Signature call("t", {std::string(200'000, 'x')});
  call.options.task_id = "i";
  call.options.compression = "gzip";
  CHECK_FALSE(encode_task(call, sender()).headers.contains("compression"));
  std::string varied;
  for (int i = 0; i < 50'000; ++i) varied += std::to_string(i * 7919 % 10007);
  call.args = {varied};
  const Message message = encode_task(call, sender());
  CHECK(*message.headers.find("compression") == Value("application/x-gzip"));
  CHECK(Body(message).args() == call.args);
}

TEST_CASE("links and chain of a call are in its embed, the chain reversed") {
  Signature call("a");
  call.options.task_id = "1";
  call.link.push_back(Signature("on_success"));
  call.link_error.push_back(Signature("on_error"));
  Signature second("b");
  second.chain.push_back(Signature("c"));
  call.chain = {second, Signature("d")};
  const TaskId last = freeze(call);
  const Embed embed = Body(encode_task(call, sender())).embed();
  REQUIRE(embed.chain.size() == 3);
  CHECK(*embed.chain[0].find("task") == Value("d"));
  CHECK(*embed.chain[1].find("task") == Value("c"));
  CHECK(*embed.chain[2].find("task") == Value("b"));
  CHECK(*embed.chain[0].find("options")->find("task_id") == Value(last));
  CHECK(embed.chain[2].find("options")->find("chain") == nullptr);
  CHECK(embed.callbacks.size() == 1);
  CHECK(embed.errbacks.size() == 1);
  CHECK(embed.callbacks[0].as_object().size() == 6);
}

// What Celery's own retry does to a message (section 6.7), and what it must not do.
TEST_CASE("a retry is the same message, one attempt later") {
  Message message = minimal();
  message.body = "[[2,   3], {}, {}]";
  message.headers.set("expires", "2026-11-22T06:43:54.166995+00:00");
  message.headers.set("tenant", Value::array({1, Value::object({{"x", 1}})}));
  message.headers.set("redelivered", true);
  message.properties = Object{{"priority", 5}, {"expiration", "7200000"}, {"x-other", 1}};
  const Message again = retry_of(message, 1, kNow + 30s, kNow + 1s);
  CHECK(again.body == message.body);
  CHECK(*again.headers.find("id") == Value("t-1"));
  CHECK(*again.headers.find("retries") == Value(1));
  CHECK(*again.headers.find("eta") == Value("2026-11-22T05:44:24.166995+00:00"));
  CHECK(*again.headers.find("parent_id") == Value("t-1"));
  CHECK(*again.headers.find("tenant") == *message.headers.find("tenant"));
  CHECK(*again.headers.find("expires") == *message.headers.find("expires"));
  CHECK_FALSE(again.headers.contains("redelivered"));
  CHECK(*again.properties.find("x-other") == Value(1));
  CHECK(*again.properties.find("expiration") == Value("3599000"));
  const Message third = retry_of(again, 2, std::nullopt);
  // GN-33: whoever gets it too late, a busy worker or one of Python's, must not start it any more.
  const Message limited = retry_of(again, 2, std::nullopt, kNow, kNow + 5s);
  CHECK(decode_task(limited).expires == kNow + 5s);
  CHECK(decode_task(retry_of(limited, 3, std::nullopt, kNow, kNow + 60s)).expires == kNow + 5s);
  CHECK(*third.headers.find("parent_id") == Value("t-1"));
  CHECK(third.headers.find("eta")->is_null());
  message.headers.set("parent_id", "p");
  CHECK(*retry_of(message, 1, std::nullopt).headers.find("parent_id") == Value("p"));
  CHECK(retry_route({"ex", "k"}, "") == Route{"ex", "k"});
  CHECK(retry_route({"ex", "k"}, "slow") == Route{"", "slow"});
}

TEST_CASE("a signature reads back from the wire with what it does not know set aside") {
  Signature call("t", {1}, {{"k", 2}});
  call.options.queue = "media";
  call.options.countdown = 1500ms;
  call.options.group_index = 4;
  call.immutable = true;
  call.link.push_back(Signature("cb"));
  call.chain = {Signature("x"), Signature("y")};
  Value wire = signature_to_json(call);
  wire.as_object()["options"].as_object().set("stamped_headers", Value::array({"m"}));
  const ReadSignature back = signature_from_json(wire);
  CHECK(back.call.task == "t");
  CHECK(back.call.options.queue == "media");
  CHECK(back.call.options.countdown == 1500ms);
  CHECK(back.call.options.group_index == 4);
  CHECK(back.call.immutable);
  CHECK(back.call.link.size() == 1);
  REQUIRE(back.call.chain.size() == 2);
  CHECK(back.call.chain[0].task == "x");
  CHECK(back.other_options == Object{{"stamped_headers", Value::array({"m"})}});
  CHECK_THROWS_AS(signature_from_json(Value(5)), DecodeFailure);
  CHECK_THROWS_AS(signature_from_json(Value::object({{"task", 5}})), DecodeFailure);
}
