// Remote control hears whoever may publish: what comes may be wrong, hostile, or too much.
#include "worker/controller.hpp"

#include <errand/registry.hpp>

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::worker;
using namespace std::chrono_literals;

namespace {

std::optional<ControlCommand> decode(std::string body) {
  Message message;
  message.body = std::move(body);
  return decode_command(message, "w1@host");
}

constexpr Task<std::int64_t(std::int64_t)> known{"known", {"x"}};

struct Bench {
  Bench() {
    registry.add(known, [](std::int64_t x) { return x; });
  }
  ControlAnswer answer(const std::string& body) {
    const auto command = decode(body);
    REQUIRE(command);
    return answer_command(*command, registry);
  }
  Registry registry;
};

}  // namespace

TEST_CASE("F126_what is no command, or not for this worker, is ignored") {
  for (const char* body :
       {"", "nonsense", "5", "null", "[]", "{}", R"({"method": 5})", R"({"method": null})", R"({"method": {"a": 1}})",
        R"({"method": "ping", "destination": ["w2@host"]})", R"({"method": "ping", "destination": []})",
        R"({"method": "ping", "destination": [5, null]})", R"({"method": "ping", "pattern": "w2@*"})",
        R"({"method": "ping", "pattern": "(a+)+$", "matcher": "pcre"})", "\xff\xfe"}) {
    CAPTURE(body);
    CHECK_FALSE(decode(body));
  }
  CHECK_FALSE(decode(std::string(200'000, '[')));
  CHECK_FALSE(decode(R"({"method": "ping", "x": ")" + std::string(2u << 20, 'x') + "\"}"));
  CHECK(decode(R"({"method": "ping", "destination": ["w1@host"], "pattern": 5, "ticket": [], "arguments": 7})"));
  CHECK(decode(R"({"method": "ping", "pattern": "w1@*"})"));
}

TEST_CASE("F126_arguments of the wrong type or size are answered with an error and change nothing") {
  Bench bench;
  for (const char* body : {R"({"method": "revoke"})", R"({"method": "revoke", "arguments": {"task_id": 5}})",
                           R"({"method": "revoke", "arguments": {"task_id": [5, {}, null]}})",
                           R"({"method": "rate_limit", "arguments": {"task_name": "unknown", "rate_limit": "1/s"}})",
                           R"({"method": "rate_limit", "arguments": {"task_name": [], "rate_limit": "1/s"}})",
                           R"({"method": "rate_limit", "arguments": {"task_name": "known", "rate_limit": "fast"}})",
                           R"({"method": "time_limit", "arguments": {"task_name": 5, "hard": 1}})",
                           R"({"method": "pool_grow"})", R"j({"method": "__import__('os')"})j"}) {
    CAPTURE(body);
    const ControlAnswer answer = bench.answer(body);
    CHECK_FALSE(answer.change);
    CHECK_FALSE(answer.stop);
    REQUIRE(answer.reply);
    CHECK(answer.reply->find("error") != nullptr);
  }
}

TEST_CASE("F126_limits beyond all bounds are no limit or a hundred years, and overflow nothing") {
  Bench bench;
  const auto hard = [&](const char* given) {
    const ControlAnswer answer = bench.answer(
        std::string(R"({"method": "time_limit", "arguments": {"task_name": "known", "hard": )") + given + "}}");
    REQUIRE(answer.change);
    return std::get<SetTimeLimits>(*answer.change).hard;
  };
  CHECK(hard("1e300") == std::chrono::hours(24) * 365 * 100);
  CHECK(hard("Infinity") == std::chrono::hours(24) * 365 * 100);
  CHECK_FALSE(hard("NaN"));
  CHECK_FALSE(hard("-1e300"));
  CHECK_FALSE(hard("0"));
  CHECK_FALSE(hard("\"5\""));
  CHECK(hard("0.0001") == 1ms);
  CHECK(hard("2.5") == 2500ms);
}

// An answer that went where a command says would let whoever commands write into any queue.
TEST_CASE("F126_answers go where answers are waited for and nowhere else") {
  const auto reply_to = [](const std::string& exchange, const std::string& key) {
    return decode(R"({"method": "ping", "reply_to": {"exchange": ")" + exchange + R"(", "routing_key": ")" + key +
                  "\"}}")
        ->reply_to;
  };
  CHECK(reply_to("reply.celery.pidbox", "k") == Route{"reply.celery.pidbox", "k"});
  CHECK(reply_to("", "a.reply.celery.pidbox"));
  CHECK_FALSE(reply_to("", "celery"));
  CHECK_FALSE(reply_to("", "reply.celery.pidbox.celery"));
  CHECK_FALSE(reply_to("celery", "celery"));
  CHECK_FALSE(decode(R"({"method": "ping", "reply_to": "celery"})")->reply_to);
}

TEST_CASE("F126_of a flood a bounded number is taken") {
  CommandGate gate;
  SteadyPoint now{1h};
  std::size_t taken = 0;
  for (int i = 0; i < 100'000; ++i) taken += gate.take(now) ? 1 : 0;
  CHECK(taken == 200);
  now += 1s;
  taken = 0;
  for (int i = 0; i < 100'000; ++i) taken += gate.take(now) ? 1 : 0;
  CHECK(taken == 100);
  CHECK_FALSE(gate.take(now - 10s));
  now += 1h;
  CHECK(gate.take(now));
}
