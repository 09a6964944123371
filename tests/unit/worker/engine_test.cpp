#include "engine_bench.hpp"

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::worker;
using errand::worker::testing::EngineBench;
using namespace std::chrono_literals;

TEST_CASE("a message runs when the pool has room, and is acknowledged with its result") {
  EngineBench bench;
  CHECK(bench.deliver("t1") == "");
  CHECK(bench.capacity(1) == "run t1");
  CHECK(bench.finish(bench.last_run, Outcome::Kind::success) == "commit SUCCESS ack");
  CHECK(bench.engine().held() == 1);
  CHECK(bench.committed(bench.last_run) == "");
  CHECK(bench.engine().idle());
}

TEST_CASE("messages start in the order they came, as many as there is room for") {
  EngineBench bench;
  for (const char* id : {"t1", "t2", "t3"}) bench.deliver(id);
  CHECK(bench.capacity(2) == "run t1; run t2");
  CHECK(bench.capacity(2) == "run t3");
}

TEST_CASE("it fetches no more than the pool takes, so that nothing waits behind a long task") {
  EngineBench bench;
  CHECK(bench.engine().wanted(3) == 3);
  bench.deliver("t1");
  CHECK(bench.engine().wanted(3) == 2);
  CHECK(bench.engine().wanted(1) == 0);
}

// GN-36: the limit bounds everything held, running included.
TEST_CASE("GN-36: a prefetch multiplier bounds what is held") {
  EngineBench bench(EngineOptions{.concurrency = 2, .prefetch_multiplier = 1});
  bench.running("t1");
  CHECK(bench.engine().wanted(16) == 1);
  bench.running("t2");
  CHECK(bench.engine().wanted(16) == 0);
}

// A task that asked for a retry is acknowledged only together with the copy that replaces it: losing the worker in
// between must repeat the task, never lose it.
TEST_CASE("retry: the replacement, its state and the acknowledgement are one commit") {
  EngineBench bench;
  Outcome outcome;
  outcome.run = bench.running("t1");
  outcome.kind = Outcome::Kind::retry;
  outcome.wait = 30s;
  CHECK(bench.finish(std::move(outcome)) == "commit +1 RETRY ack");
  const Envelope& again = bench.entry().follow_ups.front();
  CHECK(again.not_before == bench.now.wall + 30s);
  CHECK(again.message.headers.at("id").as_text() == "t1");
  CHECK(again.message.headers.at("retries").as_integer() == 1);
  CHECK(again.message.headers.at("x-trace").as_text() == "kept");
  CHECK(again.message.body == "[[], {}, {}]");
}

TEST_CASE("GN-17: a retry may go into another queue") {
  EngineBench bench;
  Outcome outcome;
  outcome.run = bench.running("t1");
  outcome.kind = Outcome::Kind::retry;
  outcome.retry_queue = "service-callbacks-retry";
  bench.finish(std::move(outcome));
  CHECK(bench.entry().follow_ups.front().route == Route{"", "service-callbacks-retry"});
}

TEST_CASE("what cannot be run is dead-lettered with its reason and the worker goes on") {
  EngineBench bench;
  Arrival rubbish = bench.message("");
  rubbish.defect_code = "UNDECODABLE";
  rubbish.defect_detail = "expected JSON, got 0xff at byte 0";
  CHECK(bench.deliver(rubbish) == "commit dead:UNDECODABLE");
  CHECK(bench.deliver(bench.message("t2", "no.such.task")) == "commit FAILURE dead:UNKNOWN_TASK");
  CHECK(bench.entry().result->result_json.find("NotRegistered") != std::string::npos);
  bench.deliver("t3");
  CHECK(bench.capacity(1) == "run t3");
}

// The headers were fine, so it went to the pool; only there its body turns out to be none.
TEST_CASE("F110_a body that cannot be read is dead-lettered, and its sender told") {
  EngineBench bench;
  Outcome outcome;
  outcome.run = bench.running("t1");
  outcome.kind = Outcome::Kind::failure;
  outcome.defect_code = "BAD_BODY";
  outcome.defect_detail = "body: expected 3 elements, got 1";
  CHECK(bench.finish(std::move(outcome)) == "commit FAILURE dead:BAD_BODY");
  CHECK(bench.entry().settlement->detail == "body: expected 3 elements, got 1");
}

TEST_CASE("a task that asks to be dropped goes to the dead letters, one that asks to be requeued waits a moment") {
  EngineBench bench;
  CHECK(bench.finish(bench.running("t1"), Outcome::Kind::reject) == "commit dead:REJECTED");
  CHECK(bench.finish(bench.running("t2"), Outcome::Kind::requeue) == "commit park");
  CHECK(bench.entry().settlement->begun);  // F063: it counts, or a task that nobody can run would come for ever
  CHECK(bench.entry().settlement->not_before > bench.now.wall);
}

TEST_CASE("an ETA is never waited for in memory: the message is parked at the broker on sight") {
  EngineBench bench;
  Arrival later = bench.message("t1");
  later.eta = bench.now.wall + 5s;
  CHECK(bench.deliver(later) == "commit park");
  CHECK(bench.entry().settlement->not_before == bench.now.wall + 5s);
  Arrival due = bench.message("t2");
  due.eta = bench.now.wall;
  bench.deliver(due);
  CHECK(bench.capacity(1) == "run t2");
}

TEST_CASE("an expired message is revoked, on arrival and again just before it would start") {
  EngineBench bench;
  Arrival late = bench.message("t1");
  late.expires = bench.now.wall - 1s;
  CHECK(bench.deliver(late) == "commit REVOKED ack");
  Arrival soon = bench.message("t2");
  soon.expires = bench.now.wall + 1s;
  CHECK(bench.deliver(soon) == "");
  bench.advance(2s);
  CHECK(bench.capacity(1) == "commit REVOKED ack");
  CHECK(bench.entry().result->result_json.find("expired") != std::string::npos);
}

TEST_CASE("an early acknowledgement is safe before the task starts, and nothing is settled afterwards") {
  EngineBench bench;
  bench.add("early", TaskOptions{.acks_late = false});
  bench.deliver(bench.message("t1", "early"));
  CHECK(bench.capacity(1) == "commit ack");
  CHECK(bench.committed(bench.entry().run) == "run t1");
  CHECK(bench.finish(bench.last_run, Outcome::Kind::success) == "commit SUCCESS");
}

// Found by the simulator (seed 1544): it was acknowledged again at every try, which made its lease look lost, and ran
// after its time.
TEST_CASE("F123_an early acknowledged message that the pool gives back is acknowledged once and looked at again") {
  EngineBench bench;
  bench.add("early", TaskOptions{.acks_late = false});
  Arrival message = bench.message("t1", "early");
  message.expires = bench.now.wall + 10s;
  bench.deliver(message);
  CHECK(bench.capacity(1) == "commit ack");
  CHECK(bench.committed(bench.entry().run) == "run t1");
  CHECK(bench.step(Reclaimed{{bench.last_run}}) == "");
  CHECK(bench.capacity(1) == "run t1");
  CHECK(bench.step(Reclaimed{{bench.last_run}}) == "");
  bench.advance(11s);
  CHECK(bench.capacity(1) == "commit REVOKED");
}

TEST_CASE("F027_a message that kills its process runs again, counted, and is dead after the third time") {
  EngineBench bench;
  CHECK(bench.finish(bench.running("t1"), Outcome::Kind::lost) == "commit +1 ack");
  Arrival third = bench.message("t1");
  third.crashes = 2;
  const std::uint64_t run = bench.running(third);
  CHECK(bench.finish(run, Outcome::Kind::lost) == "hooks t1");
  CHECK(bench.finish(run, Outcome::Kind::failure) == "commit FAILURE dead:CRASH_LIMIT");
}

TEST_CASE("F027_the dead letter keeps what became of every attempt, and the body that was sent") {
  EngineBench bench;
  Arrival arrival = bench.message("t1");
  const std::string body = arrival.message->body;
  for (const char* evidence : {"SIGSEGV; in first()", "SIGABRT; in second()"}) {
    Outcome lost;
    lost.run = bench.running(arrival);
    lost.kind = Outcome::Kind::lost;
    lost.evidence = evidence;
    CHECK(bench.finish(std::move(lost)) == "commit +1 ack");
    const Message& again = bench.entry().follow_ups.front().message;
    CHECK(again.body == body);
    CHECK(again.headers.find("x-trace")->as_text() == "kept");
    arrival = bench.message("t1");
    arrival.crashes = static_cast<std::uint32_t>(again.headers.find("errand_crashes")->as_integer());
    arrival.message = std::make_shared<const Message>(again);
  }
  Outcome last;
  last.run = bench.running(arrival);
  last.kind = Outcome::Kind::lost;
  last.exit_signal = 9;
  last.traceback = "Traceback (most recent call first):\n";
  last.evidence = "SIGKILL; peak memory 3 MiB";
  const std::uint64_t run = last.run;
  CHECK(bench.finish(std::move(last)) == "hooks t1");
  CHECK(bench.finish(run, Outcome::Kind::failure) == "commit FAILURE dead:CRASH_LIMIT");
  CHECK(bench.entry().settlement->detail ==
        "its process died 3 times, limit max_crashes = 3; 1. SIGSEGV; in first(); 2. SIGABRT; in second(); 3. SIGKILL; "
        "peak "
        "memory 3 MiB");
  CHECK(bench.entry().result->traceback ==
        "Traceback (most recent call first):\nWorkerLostError: Worker exited prematurely: signal 9 (SIGKILL).\n");
}

TEST_CASE("DZ-39: a task that passes a resource limit has failed, and the outcome names the limit") {
  EngineBench bench(EngineOptions{.limits = {.memory = 1u << 30, .processes = 5}});
  bench.add("own", TaskOptions{.limits = {.processes = 7}});
  Outcome over;
  over.run = bench.running("t1", "own");
  over.kind = Outcome::Kind::lost;
  over.exceeded = "processes_limit = 7 (used 8)";
  const std::uint64_t number = over.run;
  CHECK(bench.finish(std::move(over)) == "hooks t1");
  const auto* hooks = std::get_if<Run>(&bench.effects.back());
  REQUIRE(hooks != nullptr);
  CHECK(hooks->execution.limits.processes == 7u);
  CHECK(hooks->execution.limits.memory == 1u << 30);
  CHECK(bench.finish(number, Outcome::Kind::failure) == "commit FAILURE ack");
  CHECK(
      bench.entry().result->result_json ==
      R"x({"exc_type": "ResourceLimitExceeded", "exc_message": ["passed processes_limit = 7 (used 8)"], "exc_module": "errand.exceptions"})x");
}

TEST_CASE("a hard time limit ends as a failure once hooks and errbacks have run in a fresh process") {
  EngineBench bench;
  Outcome outcome;
  outcome.run = bench.running("t1");
  outcome.kind = Outcome::Kind::timed_out;
  outcome.limit = 1500ms;
  const std::uint64_t run = outcome.run;
  CHECK(bench.finish(std::move(outcome)) == "hooks t1");
  CHECK(bench.finish(run, Outcome::Kind::failure) == "commit FAILURE ack");
  CHECK(bench.entry().result->result_json ==
        R"({"exc_type": "TimeLimitExceeded", "exc_message": [1.5], "exc_module": "billiard.exceptions"})");
}

TEST_CASE("AT-22: ignore_result stores nothing on success, by task or by message") {
  EngineBench bench;
  bench.add("quiet", TaskOptions{.ignore_result = true});
  CHECK(bench.finish(bench.running("t1", "quiet"), Outcome::Kind::success) == "commit ack");
  Arrival asked = bench.message("t2");
  asked.ignore_result = true;
  CHECK(bench.finish(bench.running(asked), Outcome::Kind::success) == "commit ack");
  // What every sender of Celery writes when nobody asked.
  Arrival not_asked = bench.message("t3", "quiet");
  not_asked.ignore_result = false;
  CHECK(bench.finish(bench.running(not_asked), Outcome::Kind::success) == "commit ack");
}

TEST_CASE("a message that does not begin is given back, so that a free worker can take it") {
  EngineBench bench(EngineOptions{.hold_unstarted = 1s});
  bench.deliver("t1");
  CHECK(bench.tick(1s) == "commit requeue");
  bench.deliver("t2");
  bench.capacity(1);
  const std::uint64_t run = bench.last_run;
  CHECK(bench.tick(1s) == "reclaim");
  CHECK(bench.step(Reclaimed{{run}}) == "commit requeue");
}

TEST_CASE("F063_many messages that do not begin do not chase each other between the worker and its broker") {
  EngineBench bench(EngineOptions{.hold_unstarted = 1s});
  std::size_t reclaims = 0;
  for (int i = 0; i < 40; ++i) {  // one comes each 100 ms, and the pool begins none
    bench.deliver("t" + std::to_string(i));
    bench.capacity(1);
    reclaims += bench.tick(100ms) == "reclaim";
  }
  CHECK(reclaims == 4);  // in four seconds
}

// Its worker died between the result and the chord's count: acknowledging it without the count would leave the chord
// waiting for ever.
TEST_CASE("F019_a redelivered member of a chord whose success is stored is counted again before it is acknowledged") {
  EngineBench bench;
  Arrival again = bench.message("t1");
  again.redelivered = true;
  again.stored_state = "SUCCESS";
  again.stored_result_json = "5";
  again.group_id = "g1";
  again.group_index = 2;
  Message message = *again.message;
  message.body = R"([[], {}, {"chord": {"task": "body", "args": []}}])";
  again.message = std::make_shared<const Message>(message);
  bench.deliver(again);
  REQUIRE(bench.entry().chord_reports.size() == 1);
  const ChordReport& report = bench.entry().chord_reports.front();
  CHECK(report.group == "g1");
  CHECK(report.part.id == "t1");
  CHECK(report.part.state == "SUCCESS");
  CHECK(report.part.result_json == "5");
  CHECK(report.part.index == 2);
  CHECK(report.chord_json.find("\"body\"") != std::string::npos);
  CHECK(bench.entry().settlement.has_value());

  message.body = "[[], {}, {}]";
  again.message = std::make_shared<const Message>(message);
  bench.deliver(again);
  CHECK(bench.entry().chord_reports.empty());
}

TEST_CASE("a message delivered too often is dead") {
  EngineBench bench(EngineOptions{.max_deliveries = 20});
  Arrival often = bench.message("t1");
  often.deliveries = 21;
  CHECK(bench.deliver(often) == "commit dead:DELIVERY_LIMIT");
}

TEST_CASE("a rate limit parks what comes too early, each message about once, and keeps the rate") {
  EngineBench bench;
  bench.add("slow", TaskOptions{.rate_limit = RateLimit{1, 1s}});
  for (int i = 0; i < 4; ++i) bench.deliver(bench.message("t" + std::to_string(i), "slow"));
  CHECK(bench.capacity(8) == "run t0; commit park; commit park; commit park");
  std::vector<TimePoint> due;
  for (const Effect& effect : bench.effects) {
    if (const auto* entry = std::get_if<CommitEntry>(&effect)) due.push_back(entry->settlement->not_before);
  }
  CHECK(due == std::vector<TimePoint>{bench.now.wall + 1s, bench.now.wall + 2s, bench.now.wall + 3s});
  for (int i = 1; i < 4; ++i) {
    bench.advance(1s);
    bench.deliver(bench.message("t" + std::to_string(i), "slow"));
    CHECK(bench.capacity(8) == "run t" + std::to_string(i));
  }
}

TEST_CASE("progress and STARTED are stored without settling anything") {
  EngineBench bench;
  bench.add("tracked", TaskOptions{.track_started = true});
  bench.deliver(bench.message("t1", "tracked"));
  bench.capacity(1);
  CHECK(bench.step(Started{bench.last_run, 42}) == "commit STARTED");
  CHECK(bench.entry().result->result_json == R"({"pid": 42, "hostname": "w1@test"})");
  CHECK(bench.step(Progressed{Progress{bench.last_run, "PROGRESS", "{\"current\": 1}"}}) == "commit PROGRESS");
}

// Pools leave out the news of a start when the end is known as well; whoever reads the events still sees both.
TEST_CASE("a task whose start was not told has started by the time it ends, and its outcome counts") {
  EngineBench bench;
  bench.deliver("t1");
  bench.capacity(1);
  CHECK(bench.finish(bench.last_run, Outcome::Kind::success) == "commit SUCCESS ack");
  std::vector<Emit::What> told;
  for (const Effect& effect : bench.effects) {
    if (const auto* event = std::get_if<Emit>(&effect)) told.push_back(event->what);
  }
  CHECK(told == std::vector{Emit::What::started, Emit::What::succeeded});
}

// One line in the log that is not written costs nothing, for there are several for every task.
TEST_CASE("events that nobody reads are not written down") {
  EngineBench bench(EngineOptions{.reported = [](Emit::What what) noexcept { return what == Emit::What::succeeded; }});
  bench.finish(bench.running("t1"), Outcome::Kind::success);
  std::vector<Emit::What> told;
  for (const Effect& effect : bench.effects) {
    if (const auto* event = std::get_if<Emit>(&effect)) told.push_back(event->what);
  }
  CHECK(told == std::vector{Emit::What::succeeded});
}

TEST_CASE("a later attempt's record is never replaced by an earlier one") {
  EngineBench bench;
  Arrival first = bench.message("t1");
  Arrival second = bench.message("t1");
  second.retries = 1;
  second.receipt.token = 1;  // a new message: its delivery count starts anew
  first.receipt.token = 9;
  bench.finish(bench.running(first), Outcome::Kind::success);
  const std::uint64_t earlier = bench.entry().result->token;
  bench.finish(bench.running(second), Outcome::Kind::success);
  CHECK(bench.entry().result->token > earlier);
}

// Two senders that make up the same id are a mistake that would otherwise show as a result that is not the caller's.
TEST_CASE("F121_of two messages with one id and different bodies the first counts, the other is dead-lettered") {
  EngineBench bench(EngineOptions{.max_recent = 2});
  const auto with_body = [&](const std::string& id, const std::string& body) {
    Arrival arrival = bench.message(id);
    Message changed = *arrival.message;
    changed.body = body;
    arrival.message = std::make_shared<const Message>(std::move(changed));
    return arrival;
  };
  bench.deliver(with_body("t1", "[[1], {}, {}]"));
  CHECK(bench.capacity(1) == "run t1");
  CHECK(bench.deliver(with_body("t1", "[[2], {}, {}]")) == "commit dead:ID_CONFLICT");
  SUBCASE("the same body is a redelivery, or a sender that did not hear an answer") {
    bench.deliver(with_body("t1", "[[1], {}, {}]"));
    CHECK(bench.capacity(1) == "run t1");
  }
  SUBCASE("a later attempt may have other arguments, and another task may take the id over") {
    Arrival retry = with_body("t1", "[[3], {}, {}]");
    retry.retries = 1;
    bench.deliver(retry);
    CHECK(bench.capacity(1) == "run t1");
    bench.add("other", {});
    Arrival replaced = with_body("t1", "[[4], {}, {}]");
    replaced.task = "other";
    bench.deliver(replaced);
    CHECK(bench.capacity(1) == "run t1");
  }
  SUBCASE("what was long ago is forgotten") {
    bench.deliver("t2");
    bench.deliver("t3");
    bench.capacity(2);
    bench.deliver(with_body("t1", "[[2], {}, {}]"));
    CHECK(bench.capacity(1) == "run t1");
  }
}
