// Whose a message is: leases renewed, lost, and what the engine does about it.
#include "engine_bench.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace errand;
using namespace errand::worker;
using errand::worker::testing::EngineBench;
using namespace std::chrono_literals;

namespace {

std::string lose(EngineBench& bench, const Receipt& receipt) { return bench.step(LeasesLost{{receipt}}); }

std::size_t emitted(const EngineBench& bench, Emit::What what) {
  return static_cast<std::size_t>(std::count_if(bench.effects.begin(), bench.effects.end(), [&](const Effect& effect) {
    const auto* emit = std::get_if<Emit>(&effect);
    return emit != nullptr && emit->what == what;
  }));
}

Arrival redelivered(EngineBench& bench, const std::string& state, std::uint32_t retries = 0) {
  Arrival arrival = bench.message("t1");
  arrival.redelivered = true;
  arrival.stored_state = state;
  arrival.stored_retries = retries;
  return arrival;
}

}  // namespace

TEST_CASE("the leases of everything held are renewed: running, waiting, and what waits for a store that is away") {
  EngineBench bench(EngineOptions{.lease = 60s, .hold_unstarted = 1h});
  bench.add("early", TaskOptions{.acks_late = false});
  const std::uint64_t done = bench.running("committing");
  bench.running("running");
  bench.deliver(bench.message("early", "early"));
  bench.capacity(1);
  bench.committed(bench.entry().run);  // acknowledged before it runs: there is no lease any more
  bench.deliver("waiting");
  CHECK(bench.finish(done, Outcome::Kind::success) == "commit SUCCESS ack");
  CHECK(bench.tick(19s) == "");
  CHECK(bench.tick(1s) == "extend 3");
  bench.committed(done);
  CHECK(bench.tick(20s) == "extend 2");
}

TEST_CASE("a renewal that failed is tried again long before the lease ends") {
  EngineBench bench(EngineOptions{.lease = 60s});
  bench.running("t1");
  CHECK(bench.tick(20s) == "extend 1");
  bench.step(Renewed{false});
  CHECK(bench.tick(4s) == "");
  CHECK(bench.tick(1s) == "extend 1");
  bench.step(Renewed{true});
  CHECK(bench.tick(19s) == "");
}

// The worker was stopped for longer than its lease; another has run the task by now.
TEST_CASE("F024_a running task whose lease was lost is told to stop, and what it comes to is dropped") {
  EngineBench bench;
  const Arrival message = bench.message("t1");
  const std::uint64_t run = bench.running(message);
  CHECK(lose(bench, message.receipt) == "ask");
  CHECK(emitted(bench, Emit::What::lease_lost) == 1);
  CHECK(bench.engine().leases_lost() == 1);
  CHECK(lose(bench, message.receipt) == "");
  CHECK(bench.tick(5s) == "soft");
  CHECK(bench.tick(5s) == "kill");
  CHECK(bench.finish(run, Outcome::Kind::success) == "");
  CHECK(emitted(bench, Emit::What::succeeded) == 0);
  CHECK(bench.engine().idle());
}

TEST_CASE("F024_what has not begun when its lease is lost does not begin") {
  EngineBench bench;
  const Arrival waiting = bench.message("t1");
  bench.deliver(waiting);
  CHECK(lose(bench, waiting.receipt) == "");
  CHECK(bench.capacity(1) == "");
  CHECK(bench.engine().idle());

  const Arrival with_pool = bench.message("t2");
  bench.deliver(with_pool);
  bench.capacity(1);
  const std::uint64_t run = bench.last_run;
  CHECK(lose(bench, with_pool.receipt) == "");
  SUBCASE("the pool gives it back") {
    CHECK(bench.step(Reclaimed{{run}}) == "");
    CHECK(bench.engine().idle());
  }
  SUBCASE("the pool begins it all the same") {
    CHECK(bench.step(Started{run, 42}) == "ask");
    CHECK(bench.finish(run, Outcome::Kind::cancelled) == "");
    CHECK(bench.engine().idle());
  }
}

TEST_CASE("F016_an attempt that has ended is known by the token of its record where the record counts no retries") {
  EngineBench bench;
  Arrival again = redelivered(bench, "FAILURE", 0);  // a store without the extended fields
  again.retries = 2;
  again.stored_token = std::uint64_t{2} << 52 | 7;
  SUBCASE("this attempt") { CHECK(bench.deliver(again) == "commit ack"); }
  SUBCASE("the one before it") {
    again.stored_token = std::uint64_t{1} << 52 | 7;
    CHECK(bench.deliver(again) == "");
  }
  SUBCASE("as often retried, but since then its process died") {
    again.crashes = 1;
    CHECK(bench.deliver(again) == "");
  }
}

TEST_CASE("F024_an early acknowledgement that came too late does not start its task") {
  EngineBench bench(EngineOptions{.lease = 60s});
  bench.add("early", TaskOptions{.acks_late = false});
  const Arrival message = bench.message("t1", "early");
  bench.deliver(message);
  CHECK(bench.capacity(1) == "commit ack");
  const std::uint64_t run = bench.entry().run;
  SUBCASE("while nobody else can have it, a lost answer means that it was acknowledged") {
    lose(bench, message.receipt);
    CHECK(bench.committed(run) == "run t1");
  }
  SUBCASE("after standing still it is somebody else's") {
    bench.advance(61s);
    lose(bench, message.receipt);
    CHECK(bench.committed(run) == "");
    CHECK(bench.engine().idle());
  }
}

TEST_CASE("a worker that stood still asks whose its messages are before it starts one") {
  EngineBench bench(EngineOptions{.lease = 60s, .hold_unstarted = 1h});
  bench.deliver("t1");
  bench.advance(61s);
  CHECK(bench.capacity(1) == "");
  CHECK(bench.tick() == "extend 1");
  CHECK(bench.capacity(1) == "");
  bench.step(Renewed{true});
  CHECK(bench.capacity(1) == "run t1");
}

// The outcome is stored before the acknowledgement, so a worker that dies between them leaves a message whose attempt
// has ended.
TEST_CASE("F016_a redelivered message whose attempt has ended is acknowledged, whatever it came to") {
  for (const char* state : {"SUCCESS", "FAILURE", "REVOKED", "RETRY"}) {
    CAPTURE(state);
    EngineBench bench;
    CHECK(bench.deliver(redelivered(bench, state)) == "commit ack");
    CHECK(emitted(bench, Emit::What::repeated) == 1);
    CHECK(bench.capacity(1) == "");
  }
  for (const char* state : {"STARTED", "PROGRESS", "PENDING", ""}) {
    CAPTURE(state);
    EngineBench bench;
    bench.deliver(redelivered(bench, state));
    CHECK(bench.capacity(1) == "run t1");
  }
}

TEST_CASE("F018_a retry runs once by (id, retries): earlier records do not stop it, its own and later ones do") {
  EngineBench bench;
  Arrival retry = redelivered(bench, "RETRY", 1);
  retry.retries = 2;
  bench.deliver(retry);
  CHECK(bench.capacity(1) == "run t1");
  Arrival copy = redelivered(bench, "RETRY", 2);
  copy.redelivered = false;  // sent twice, because the worker died between sending it and acknowledging
  copy.retries = 2;
  CHECK(bench.deliver(copy) == "commit ack");
  Arrival old = redelivered(bench, "FAILURE", 2);
  CHECK(bench.deliver(old) == "commit ack");
}

TEST_CASE("I6: what an operator put back from the dead letters runs, and again when its worker dies") {
  EngineBench bench;
  Arrival back = redelivered(bench, "FAILURE");
  back.stored_token = 7;
  back.life_token = 9;
  bench.deliver(back);
  CHECK(bench.capacity(1) == "run t1");
  back.receipt.token = 100;
  back.stored_token = 9;  // ended in this life
  CHECK(bench.deliver(back) == "commit ack");
}

TEST_CASE("a message that ended by crashing too often is dead-lettered, also when its worker died before it could") {
  EngineBench bench;
  Arrival crashed = redelivered(bench, "FAILURE");
  crashed.crashes = 2;
  CHECK(bench.deliver(crashed) == "commit dead:CRASH_LIMIT");
}

// Tokens of Redis are times in microseconds. Cut to 40 bits they went round every 12.7 days, and the newer writer lost.
TEST_CASE("F024_a newer delivery has a greater token on its record, however large tokens are") {
  EngineBench bench;
  Arrival earlier = bench.message("t1"), later = bench.message("t1");
  earlier.receipt.token = (std::uint64_t{1} << 40) * 1'500 - 1;
  later.receipt.token = (std::uint64_t{1} << 40) * 1'500;
  bench.finish(bench.running(earlier), Outcome::Kind::failure);
  const std::uint64_t first = bench.entry().result->token;
  CHECK(delivery_token(first) == earlier.receipt.token);
  bench.finish(bench.running(later), Outcome::Kind::failure);
  CHECK(bench.entry().result->token > first);
  Arrival often = bench.message("t1");
  often.retries = 4'000'000'000;
  bench.finish(bench.running(often), Outcome::Kind::failure);
  CHECK(bench.entry().result->token <= static_cast<std::uint64_t>(INT64_MAX));  // stores keep signed numbers
}
