// Writes what Errand's encoders produce, one JSON object per line, for test_golden_python.py to read with the code
// of kombu and Celery.

#include "protocol/body.hpp"
#include "protocol/envelope.hpp"
#include "protocol/events.hpp"
#include "protocol/exception.hpp"
#include "protocol/follow_ups.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/result_json.hpp"
#include "protocol/signature_json.hpp"
#include "protocol/task_message.hpp"

#include <chrono>
#include <cstdio>
#include <limits>
#include <string>

using namespace errand;
using namespace errand::protocol;
using namespace std::chrono_literals;

namespace {

const TimePoint kNow = *read_time("2030-01-02T03:04:05.678901+00:00");

SenderInfo sender() { return {.now = kNow, .origin = "gen1@host", .reply_to = "reply"}; }

void line(const char* kind, const char* name, const std::string& text) {
  std::printf("%s\n", to_json(Value::object({{"kind", kind}, {"name", name}, {"text", text}})).c_str());
}

void message(const char* name, Signature call) {
  freeze(call);
  const Message encoded = encode_task(call, sender());
  line("message", name,
       encode_envelope({.route = {"", "celery"}, .message = encoded, .priority = call.options.priority.value_or(0)},
                       std::string("tag-") + name));
}

Signature call(Array args, Object kwargs = {}) {
  Signature out("proj.echo", std::move(args), std::move(kwargs));
  out.options.task_id = "id";
  return out;
}

void messages() {
  message("plain", call({2, 3}, {{"k", Value()}}));
  message("unicode", call({"h\xc3\xa4\xc3\x9flich \xf0\x9f\x98\x80 \xed\xa0\x80 \"\\\n"}));
  message("numbers",
          call({std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -0.0, 1e16, 5e-324,
                BigInteger{"10000000000000000000000000"}, std::numeric_limits<std::int64_t>::min(), 0.1}));
  for (const char* method : {"gzip", "bzip2", "lzma"}) {
    Array numbers;
    for (int i = 0; i < 2000; ++i) numbers.emplace_back(i);
    Signature packed = call({Value(std::move(numbers))});
    packed.options.compression = method;
    message(method, std::move(packed));
  }
  Signature options = call({1});
  options.options.countdown = 90s;
  options.options.expires_in = 2h;
  options.options.time_limit = 10s;
  options.options.soft_time_limit = 1500ms;
  options.options.priority = 7;
  options.options.shadow = "shown";
  options.options.ignore_result = true;
  options.options.group_id = "g";
  options.options.group_index = 4;
  options.options.root_id = "r";
  options.options.parent_id = "p";
  options.options.retries = 2;
  options.options.headers = Object{{"tenant", "a"}};
  message("options", std::move(options));
  Signature workflow = call({1});
  Signature second("proj.second", {2});
  second.options.queue = "media";
  workflow.chain = {second, Signature("proj.third")};
  Signature callback("proj.callback", {}, {{"k", 1}});
  callback.immutable = true;
  callback.options.countdown = 5s;
  workflow.link = {callback};
  workflow.link_error = {Signature("proj.errback")};
  message("workflow", std::move(workflow));

  Message original = encode_task(call({1}), sender());
  original.headers.set("tenant", "a");
  line("message", "retry",
       encode_envelope({.route = {"", "celery"}, .message = retry_of(original, 1, kNow + 30s, kNow)}, "tag-retry"));

  TaskMessage parent;
  parent.id = "P";
  parent.root_id = "R";
  Embed embed;
  embed.chain = {signature_to_json(Signature("proj.third")),
                 signature_to_json(Signature("proj.second", {Value("own")}))};
  FollowUpOptions after{.now = kNow, .origin = "gen1@host"};
  const FollowUps next = after_success(parent, embed, "{\"result\": 5}", after);
  line("message", "next_step", encode_envelope(next.envelopes.at(0), "tag-next"));
}

void results() {
  line("result", "success",
       encode_result({.id = "i", .state = "SUCCESS", .result_json = "[1, NaN]", .done_at = kNow, .group_id = "g"}));
  const ExceptionInfo error{"ValueError", "builtins", {"no such size", 42}};
  line("result", "failure",
       encode_result(
           {.id = "i", .state = "FAILURE", .result_json = error.to_json(), .traceback = "text\n", .done_at = kNow}));
  line("result", "own",
       encode_result({.id = "i",
                      .state = "FAILURE",
                      .result_json = exception_json("SizeError", "too large", "errand.exceptions"),
                      .done_at = kNow}));
  line("result", "not_registered",
       encode_result(
           {.id = "i", .state = "FAILURE", .result_json = not_registered("proj.x").to_json(), .done_at = kNow}));
  line("result", "expired",
       encode_result({.id = "i", .state = "REVOKED", .result_json = expired().to_json(), .done_at = kNow}));
  line(
      "result", "time_limit",
      encode_result({.id = "i", .state = "FAILURE", .result_json = time_limit_exceeded(1).to_json(), .done_at = kNow}));
  line("result", "lost",
       encode_result({.id = "i", .state = "FAILURE", .result_json = worker_lost(9, 0).to_json(), .done_at = kNow}));
  line("group", "group", encode_group("g", std::vector<TaskId>{"a", "b"}));
}

void events() {
  LamportClock clock;
  EventBuilder build({"w1@host", 1, 0}, clock);
  line("event", "worker-heartbeat", encode_envelope(build.envelope(build.worker("worker-heartbeat", kNow, {})), "tag"));
  TaskMessage task;
  task.task = "proj.echo";
  task.id = "i";
  const std::vector<Object> batch{build.task_received(kNow, task), build.task_started(kNow, "i"),
                                  build.task_succeeded(kNow, "i", "5", 0.5)};
  line("event", "task.multi", encode_envelope(build.envelope(batch), "tag"));
}

}  // namespace

int main() {
  messages();
  results();
  events();
  return 0;
}
