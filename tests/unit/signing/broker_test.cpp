// F124: what a worker refuses, message by message, on a broker that anybody may write to.
#include "signing/broker.hpp"

#include "unit/signing/keys.hpp"

#include <errand/drivers.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

using namespace errand;
using namespace std::chrono_literals;

namespace {

// The broker as its owner sees it, and as somebody sees it who has no key.
struct Rig {
  Rig() {
    for (const char* name : {"web", "ops", "mallory"}) keys.make(name);
    options.key_id = "web";
    options.key_file = keys.pem("web");
    options.trusted = {{"web", keys.pub("web")}, {"ops", keys.pub("ops")}};
    options.policy = SignaturePolicy::require;
    url = "memory://" + keys.folder.path;
    anybody = open_broker(url);
    anybody->declare({.queues = {QueueSpec{.name = "q"}, QueueSpec{.name = "other"}}});
  }

  std::unique_ptr<Broker> signing_broker(const SigningOptions& with) {
    return signing::with_signatures(open_broker(url), with, clock);
  }
  SigningOptions as(const std::string& key) const {
    SigningOptions other = options;
    other.key_id = key;
    other.key_file = keys.pem(key);
    return other;
  }

  static Envelope envelope(const std::string& id = "1", const std::string& queue = "q") {
    Envelope out;
    out.route = {"", queue};
    out.message.headers = Object{{"task", "pay"}, {"id", id}, {"retries", 0}, {"eta", nullptr}};
    out.message.properties = Object{{"correlation_id", id}, {"reply_to", "answers"}};
    out.message.body = R"([["100"], {}, {}])";
    return out;
  }
  void send(const Envelope& one) { signing_broker(options)->publish({&one, 1}); }

  // Takes what lies in the queue, away from any worker, to change it and put it back.
  Envelope intercept(const std::string& queue = "q") {
    auto reader = anybody->consume({.queues = {queue}, .owner = "anybody"});
    const auto got = reader->next(1, Deadline::after(5s));
    REQUIRE(got.size() == 1);
    Envelope taken{.route = got[0].route, .message = got[0].message};
    const Settlement done{.receipt = got[0].receipt};
    reader->settle({&done, 1});
    return taken;
  }

  // What a worker makes of the next message: "ok" or the reason, and then ends it.
  std::string judge(Consumer& worker) {
    const auto got = worker.next(1, Deadline::after(5s));
    REQUIRE(got.size() == 1);
    const Delivery& delivery = got[0];
    last_detail = delivery.defect;
    Settlement end{.receipt = delivery.receipt};
    if (!delivery.defect.empty()) {
      end.kind = Settlement::Kind::dead_letter;
      end.reason = delivery.defect_code;
      end.detail = delivery.defect;
    }
    const std::string verdict = delivery.defect.empty() ? "ok" : delivery.defect_code;
    CHECK(delivery.defect.empty() == delivery.defect_code.empty());
    worker.settle({&end, 1});
    return verdict;
  }
  std::string judge(const std::string& queue = "q") { return judge(*worker(queue)); }

  Consumer* worker(const std::string& queue = "q") {
    readers = signing_broker(options);
    consumer = readers->consume({.queues = {queue}, .owner = "worker"});
    return consumer.get();
  }

  testing::Keys keys;
  SigningOptions options;
  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::string url;
  std::unique_ptr<Broker> anybody, readers;
  std::unique_ptr<Consumer> consumer;
  std::string last_detail;
};

}  // namespace

TEST_CASE("a message that its sender has signed is taken as it was sent, and its one sending has a name") {
  Rig rig;
  rig.send(Rig::envelope());
  Consumer& worker = *rig.worker();
  const auto got = worker.next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  CHECK(got[0].defect.empty());
  CHECK(got[0].sending_id.starts_with("errand-sent-web;"));
  CHECK(got[0].message.headers.contains(kSignatureHeader));
  CHECK(got[0].message.body == Rig::envelope().message.body);
}

TEST_CASE("F124_an unsigned message is refused where signatures are required, and passes where they are not") {
  Rig rig;
  const Envelope unsigned_one = Rig::envelope();
  const auto with = [&](SignaturePolicy policy) {
    rig.options.policy = policy;
    rig.anybody->publish({&unsigned_one, 1});
    return rig.judge();
  };
  CHECK(with(SignaturePolicy::require) == "SIGNATURE_MISSING");
  CHECK(rig.last_detail == "its queue requires a signature (it says: task 'pay', id '1')");
  CHECK(with(SignaturePolicy::accept) == "ok");
  CHECK(with(SignaturePolicy::off) == "ok");
  rig.options.queues["q"] = SignaturePolicy::require;  // over the default
  CHECK(with(SignaturePolicy::off) == "SIGNATURE_MISSING");
}

TEST_CASE("F124_whatever is changed in a signed message, it is refused") {
  Rig rig;
  struct Row {
    const char* what;
    std::function<void(Envelope&)> change;
  };
  const auto header = [](const char* name, const Value& value) {
    return [=](Envelope& one) { one.message.headers.set(name, value); };
  };
  const std::vector<Row> rows{
      {"the task", header("task", "refund")},
      {"the id", header("id", "2")},
      {"the root", header("root_id", "9")},
      {"the parent", header("parent_id", "9")},
      {"the group", header("group", "g")},
      {"the place in the group", header("group_index", 1)},
      {"the ETA", header("eta", "2030-01-01T00:00:00+00:00")},
      {"the expiry", header("expires", "2020-01-01T00:00:00+00:00")},
      {"the retries", header("retries", 5)},
      {"the kind of a number", header("retries", 0.0)},
      {"the time limits", header("timelimit", Value::array({1, 1}))},
      {"ignore_result", header("ignore_result", true)},
      {"the count of crashes", header("errand_crashes", 2)},
      {"a header of the user", header("customer", "somebody")},
      {"a header that is gone", [](Envelope& one) { one.message.headers.erase("eta"); }},
      {"the queue for answers", [](Envelope& one) { one.message.properties.set("reply_to", "mine"); }},
      {"the correlation id", [](Envelope& one) { one.message.properties.set("correlation_id", "2"); }},
      {"the content type", [](Envelope& one) { one.message.content_type = "application/x-yaml"; }},
      {"the content encoding", [](Envelope& one) { one.message.content_encoding = "binary"; }},
      {"one byte of the body", [](Envelope& one) { one.message.body[3] = '9'; }},
      {"a longer body", [](Envelope& one) { one.message.body += " "; }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    rig.send(Rig::envelope());
    Envelope changed = rig.intercept();
    row.change(changed);
    rig.anybody->publish({&changed, 1});
    CHECK(rig.judge() == "SIGNATURE_INVALID");
  }
  CHECK(rig.anybody->inspect("q").dead == rows.size());
}

TEST_CASE("F124_a message that is moved to another queue is refused there") {
  Rig rig;
  rig.send(Rig::envelope());
  Envelope moved = rig.intercept();
  moved.route.routing_key = "other";
  rig.anybody->publish({&moved, 1});
  CHECK(rig.judge("other") == "SIGNATURE_INVALID");
}

// One publish, two queues, two messages that each have to run: neither is a copy of the other.
TEST_CASE("a message that an exchange delivers to several queues runs in each of them, once") {
  Rig rig;
  const auto bound = [](const char* name) {
    return QueueSpec{.name = name, .exchange = "site", .exchange_type = "topic", .routing_key = "pay.#"};
  };
  rig.anybody->declare({.queues = {bound("first"), bound("second")}});
  Envelope one = Rig::envelope();
  one.route = {"site", "pay.now"};
  rig.send(one);
  auto broker = rig.signing_broker(rig.options);
  auto worker = broker->consume({.queues = {"first", "second"}, .owner = "worker"});
  CHECK(rig.judge(*worker) == "ok");
  CHECK(rig.judge(*worker) == "ok");
  rig.send(one);
  const Envelope recorded = rig.intercept("first");
  static_cast<void>(rig.intercept("second"));
  rig.anybody->publish({&recorded, 1});
  rig.anybody->publish({&recorded, 1});
  std::map<std::string, int> verdicts;
  for (int i = 0; i < 4; ++i) verdicts[rig.judge(*worker)] += 1;
  CHECK(verdicts == std::map<std::string, int>{{"SIGNATURE_REPLAYED", 2}, {"ok", 2}});
}

TEST_CASE("F124_a signature of a key that is not trusted, or that claims to be another's, is refused") {
  Rig rig;
  const Envelope one = Rig::envelope();
  rig.signing_broker(rig.as("mallory"))->publish({&one, 1});
  CHECK(rig.judge() == "SIGNATURE_UNKNOWN_KEY");
  SigningOptions pretender = rig.as("mallory");
  pretender.key_id = "web";
  rig.signing_broker(pretender)->publish({&one, 1});
  CHECK(rig.judge() == "SIGNATURE_INVALID");
  Envelope shapeless = one;
  shapeless.message.headers.set(std::string(kSignatureHeader), "trust me");
  rig.anybody->publish({&shapeless, 1});
  CHECK(rig.judge() == "SIGNATURE_MALFORMED");
  shapeless.message.headers.set(std::string(kSignatureHeader), Value::array({1, 2}));
  rig.anybody->publish({&shapeless, 1});
  CHECK(rig.judge() == "SIGNATURE_MALFORMED");
  // Where signatures are only accepted, a wrong one is refused all the same.
  rig.options.policy = SignaturePolicy::accept;
  rig.anybody->publish({&shapeless, 1});
  CHECK(rig.judge() == "SIGNATURE_MALFORMED");
}

TEST_CASE("F124_only the keys that may send a task can, also where signatures are not required") {
  Rig rig;
  rig.options.allowed = {{.pattern = "pay*", .key_ids = {"ops"}}};
  rig.send(Rig::envelope());
  CHECK(rig.judge() == "SIGNATURE_NOT_ALLOWED");
  const Envelope one = Rig::envelope();
  rig.signing_broker(rig.as("ops"))->publish({&one, 1});
  CHECK(rig.judge() == "ok");
  rig.options.policy = SignaturePolicy::accept;
  rig.anybody->publish({&one, 1});
  CHECK(rig.judge() == "SIGNATURE_MISSING");
  Envelope free = one;
  free.message.headers.set("task", "look");
  rig.anybody->publish({&free, 1});
  CHECK(rig.judge() == "ok");
}

// Protocol 1 has no headers, so that a rule that looked there alone would never fit.
TEST_CASE("F124_a message of protocol 1 is judged by the task that its body names") {
  Rig rig;
  rig.options.allowed = {{.pattern = "pay*", .key_ids = {"ops"}}};
  Envelope old = Rig::envelope();
  old.message.headers = Object{};
  old.message.body = R"({"task": "pay", "id": "1", "args": [], "kwargs": {}})";
  rig.send(old);
  CHECK(rig.judge() == "SIGNATURE_NOT_ALLOWED");
  rig.options.policy = SignaturePolicy::accept;
  rig.anybody->publish({&old, 1});
  CHECK(rig.judge() == "SIGNATURE_MISSING");
  old.message.body = R"({"task": "look", "id": "1", "args": [], "kwargs": {}})";
  rig.anybody->publish({&old, 1});
  CHECK(rig.judge() == "ok");
}

TEST_CASE("F124_a copy of a message is refused while it is held, after it has ended, and not after the window") {
  Rig rig;
  rig.send(Rig::envelope());
  const Envelope recorded = rig.intercept();
  Consumer& worker = *rig.worker();
  rig.anybody->publish({&recorded, 1});
  const auto held = worker.next(1, Deadline::after(5s));
  REQUIRE(held.size() == 1);
  CHECK(held[0].defect.empty());
  const Settlement done{.receipt = held[0].receipt};
  rig.anybody->publish({&recorded, 1});
  CHECK(rig.judge(worker) == "SIGNATURE_REPLAYED");
  worker.settle({&done, 1});
  rig.anybody->publish({&recorded, 1});
  CHECK(rig.judge(worker) == "SIGNATURE_REPLAYED");
  rig.clock->advance(rig.options.replay_window);
  rig.anybody->publish({&recorded, 1});
  CHECK(rig.judge(worker) == "ok");  // beyond the window the store or max_age tell it
}

TEST_CASE("a message that was parked, or put back by an operator, is no copy") {
  Rig rig;
  rig.send(Rig::envelope());
  Consumer& worker = *rig.worker();
  auto got = worker.next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  const Settlement park{.receipt = got[0].receipt, .kind = Settlement::Kind::requeue};
  worker.settle({&park, 1});
  got = worker.next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  CHECK(got[0].defect.empty());
  const Settlement dead{.receipt = got[0].receipt, .kind = Settlement::Kind::dead_letter, .reason = "UNKNOWN_TASK"};
  worker.settle({&dead, 1});
  const auto letters = rig.readers->dead_letters("q", 10, "");
  REQUIRE(letters.size() == 1);
  CHECK(rig.readers->requeue_dead("q", std::vector{letters[0].id}) == 1);
  CHECK(rig.judge(worker) == "ok");
}

// The lease ran out under a task, so that its end was dropped. Nobody has finished the message, and it must not die.
TEST_CASE("a message whose acknowledgement came too late may come again to the same worker") {
  Rig rig;
  rig.send(Rig::envelope());
  auto broker = rig.signing_broker(rig.options);
  auto late = broker->consume({.queues = {"q"}, .owner = "late", .lease = 1ms});
  auto got = late->next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  const Receipt receipt = got[0].receipt;
  auto other = broker->consume({.queues = {"q"}, .owner = "other"});
  got = other->next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  const Settlement back{.receipt = got[0].receipt, .kind = Settlement::Kind::requeue};
  const Settlement done{.receipt = receipt};
  late->settle({&done, 1});
  CHECK(late->stale() == 1);
  CHECK(late->take_lost() == std::vector{receipt});
  CHECK(late->take_lost().empty());
  other->settle({&back, 1});
  CHECK(rig.judge(*late) == "ok");
}

TEST_CASE("F124_a message that is too old, or from the future, is refused; a long wait for its ETA is no age") {
  Rig rig;
  rig.options.max_age = 1h;
  const auto after = [&](Milliseconds wait, const Envelope& one) {
    rig.send(one);
    rig.clock->advance(wait);
    return rig.judge();
  };
  CHECK(after(59min, Rig::envelope()) == "ok");
  CHECK(after(61min, Rig::envelope()) == "SIGNATURE_EXPIRED");
  CHECK(rig.last_detail.starts_with("due 61min ago, limit 1h"));
  Envelope later = Rig::envelope();
  later.message.headers.set("eta", "2027-01-15T09:00:00+00:00");
  rig.clock->step_wall(TimePoint{std::chrono::sys_days{std::chrono::year{2027} / 1 / 15}} - rig.clock->now());
  CHECK(after(9h + 59min, later) == "ok");
  rig.send(Rig::envelope());
  rig.clock->step_wall(-9min);
  CHECK(rig.judge() == "ok");
  rig.send(Rig::envelope());
  rig.clock->step_wall(-11min);
  CHECK(rig.judge() == "SIGNATURE_EARLY");
}

TEST_CASE("what a worker sends in turn is signed by it, a retry with the old signature inside as well") {
  Rig rig;
  rig.send(Rig::envelope());
  Consumer& worker = *rig.worker();
  const auto got = worker.next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  Envelope again{.route = got[0].route, .message = got[0].message};
  again.message.headers.set("retries", 1);
  const Settlement done{.receipt = got[0].receipt};
  auto results = open_result_backend(rig.url);
  const std::vector<std::uint32_t> of{0};
  REQUIRE(worker.commit({.follow_ups = {&again, 1}, .results = {}, .settlements = {&done, 1}, .follow_ups_of = of},
                        results.get()));
  CHECK(rig.judge(worker) == "ok");
}

// A worker signs with its own key. Whatever a message names as its callback would have that key's rights.
TEST_CASE("F124_what a message asked for is signed only if its own signature would have been enough") {
  Rig rig;
  rig.options.allowed = {{.pattern = "pay", .key_ids = {"ops", "web"}}, {.pattern = "fire", .key_ids = {"ops"}}};
  const auto passes = [&](const char* task, std::optional<std::string> asked_by) {
    Envelope one = Rig::envelope();
    one.message.headers.set("task", task);
    one.asked_by = std::move(asked_by);
    rig.signing_broker(rig.as("ops"))->publish({&one, 1});
    return rig.judge();
  };
  CHECK(passes("fire", std::nullopt) == "ok");  // the worker's own wish
  CHECK(passes("fire", "ops") == "ok");
  CHECK(passes("fire", "web") == "SIGNATURE_MISSING");
  CHECK(passes("fire", "") == "SIGNATURE_MISSING");
  CHECK(passes("pay", "web") == "ok");
  CHECK(passes("look", "web") == "ok");
  CHECK(passes("look", "") == "SIGNATURE_MISSING");
}

TEST_CASE("a worker whose queue asks for signatures needs a key, and one that names a key must have it") {
  Rig rig;
  rig.options.key_id.clear();
  auto broker = rig.signing_broker(rig.options);
  CHECK_THROWS_WITH_AS(broker->consume({.queues = {"q"}, .owner = "w"}), doctest::Contains("set key and key_file"),
                       Error);
  rig.options.queues["other"] = SignaturePolicy::off;
  CHECK_NOTHROW(rig.signing_broker(rig.options)->consume({.queues = {"other"}, .owner = "w"}));
  CHECK_THROWS_AS(rig.signing_broker(rig.as("nobody")), Error);
  SigningOptions untrusting = rig.as("web");
  untrusting.trusted.clear();
  CHECK_THROWS_WITH_AS(check_signing(untrusting), doctest::Contains("expected at least one key"), Error);
  SigningOptions unknown = rig.as("web");
  unknown.allowed = {{.pattern = "x", .key_ids = {"nobody"}}};
  CHECK_THROWS_WITH_AS(check_signing(unknown), doctest::Contains("which is not trusted"), Error);
  CHECK_NOTHROW(check_signing(rig.as("web")));
  CHECK_NOTHROW(check_signing({}));
}

TEST_CASE("F126_commands of remote control need a signature where messages do, and are good once and soon") {
  Rig rig;
  auto worker = rig.signing_broker(rig.options);
  auto listener = worker->subscribe({"celery.pidbox", ""});
  auto wire = rig.anybody->subscribe({"celery.pidbox", ""});
  const auto heard = [&] { return listener->next(10, Deadline::after(50ms)).size(); };
  Envelope command;
  command.route = {"celery.pidbox", ""};
  command.message.body = R"({"method": "shutdown"})";
  rig.anybody->broadcast(command);
  CHECK(heard() == 0);
  rig.signing_broker(rig.as("mallory"))->broadcast(command);
  CHECK(heard() == 0);
  static_cast<void>(wire->next(10, Deadline::now()));
  rig.signing_broker(rig.as("ops"))->broadcast(command);
  CHECK(heard() == 1);
  const auto seen = wire->next(10, Deadline::after(5s));
  REQUIRE(seen.size() == 1);
  const Envelope recorded{.route = command.route, .message = seen[0].message};
  rig.anybody->broadcast(recorded);
  CHECK(heard() == 0);
  rig.clock->advance(rig.options.replay_window + 1s);
  rig.anybody->broadcast(recorded);  // forgotten, and too old by now
  CHECK(heard() == 0);
  // From a clock that is ahead: it does not outlive what is remembered of it.
  rig.signing_broker(rig.as("ops"))->broadcast(command);
  const auto ahead = wire->next(10, Deadline::after(5s));
  REQUIRE(ahead.size() == 3);
  const Envelope early{.route = command.route, .message = ahead[2].message};
  rig.clock->step_wall(-(rig.options.replay_window - 1s));
  CHECK(heard() == 1);
  rig.clock->advance(rig.options.replay_window + 1s);
  rig.anybody->broadcast(early);
  CHECK(heard() == 0);
}
