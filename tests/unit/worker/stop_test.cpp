// Stopping, in every state: nothing waits for ever, nothing that can be given back is kept.
#include "engine_bench.hpp"

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::worker;
using errand::worker::testing::EngineBench;
using namespace std::chrono_literals;

TEST_CASE("F022_a warm stop fetches nothing, gives back what has not begun and waits for what runs") {
  EngineBench bench;
  const std::uint64_t run = bench.running("t1");
  bench.deliver("t2");
  CHECK(bench.step(StopRequested{StopKind::warm}) == "commit requeue; reclaim");
  CHECK(bench.engine().wanted(8) == 0);
  bench.committed(bench.entry().run);
  bench.finish(run, Outcome::Kind::success);
  CHECK(bench.committed(run) == "halt 0");
}

TEST_CASE("F023_each further stop is harder: asked, then killed, and the exit code says so") {
  EngineBench bench;
  const std::uint64_t run = bench.running("t1");
  CHECK(bench.step(StopRequested{StopKind::warm}) == "reclaim");
  CHECK(bench.step(StopRequested{StopKind::warm}) == "");
  CHECK(bench.step(StopRequested{StopKind::soft}) == "reclaim; ask");
  SUBCASE("it stops when asked, and its message goes back") {
    CHECK(bench.finish(run, Outcome::Kind::cancelled) == "commit requeue");
  }
  SUBCASE("it does not, and is killed") {
    CHECK(bench.step(StopRequested{StopKind::cold}) == "reclaim; kill");
    CHECK(bench.finish(run, Outcome::Kind::lost) == "commit requeue");
  }
  CHECK(bench.committed(run) == "halt 1");
}

TEST_CASE("a task that finishes although it was asked to stop has finished") {
  EngineBench bench;
  const std::uint64_t run = bench.running("t1");
  bench.step(StopRequested{StopKind::soft});
  CHECK(bench.finish(run, Outcome::Kind::success) == "commit SUCCESS ack");
  CHECK(bench.committed(run) == "halt 0");
}

TEST_CASE("a warm stop becomes cold when the grace has passed") {
  EngineBench bench(EngineOptions{.grace = 30s});
  const std::uint64_t run = bench.running("t1");
  bench.step(StopRequested{StopKind::warm});
  CHECK(bench.tick(29s).find("kill") == std::string::npos);
  CHECK(bench.tick(1s).find("kill") != std::string::npos);
  CHECK(bench.finish(run, Outcome::Kind::lost) == "commit requeue");
}

TEST_CASE("F031_a hard limit that passes during a cold stop is the end of its task, which does not run again") {
  EngineBench bench;
  const std::uint64_t run = bench.running("t1");
  CHECK(bench.step(StopRequested{StopKind::cold}) == "reclaim; kill");
  CHECK(bench.finish(run, Outcome::Kind::timed_out) == "hooks t1");
  CHECK(bench.finish(run, Outcome::Kind::failure) == "commit FAILURE ack");
  CHECK(bench.committed(run) == "halt 1");
}

TEST_CASE("an idle worker stops at once") {
  EngineBench bench;
  CHECK(bench.step(StopRequested{StopKind::warm}) == "reclaim; halt 0");
}

TEST_CASE("I20: what cannot be killed is given back, and the worker leaves within the grace and five seconds") {
  EngineBench bench(EngineOptions{.grace = 10s});
  const std::uint64_t run = bench.running("t1");  // a thread that never looks
  bench.step(StopRequested{StopKind::warm});
  CHECK(bench.tick(10s).find("kill") != std::string::npos);
  CHECK(bench.engine().next_timer() <= bench.now.steady + 5s);
  CHECK(bench.tick(3s) == "commit requeue");
  CHECK(bench.committed(run) == "halt 1");
}

TEST_CASE("I20: a stop does not wait for a store that is away; leases end by themselves") {
  EngineBench bench(EngineOptions{.grace = 10s});
  const std::uint64_t run = bench.running("t1");
  bench.deliver("t2");
  bench.finish(run, Outcome::Kind::success);  // never committed
  CHECK(bench.step(StopRequested{StopKind::warm}) == "commit requeue; reclaim");
  CHECK(bench.tick(10s).find("halt") == std::string::npos);
  CHECK(bench.tick(3s).find("halt") == std::string::npos);
  CHECK(bench.tick(1s) == "halt 1");
}
