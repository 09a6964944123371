// Revoked tasks: not started, stopped step by step, remembered within limits.
#include "engine_bench.hpp"

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::worker;
using errand::worker::testing::EngineBench;
using namespace std::chrono_literals;

TEST_CASE("F133_a revoked task does not start; a running one is asked, then pressed, then killed") {
  EngineBench bench;
  bench.step(Control{RevokeTasks{{"t1"}, false, false}});
  CHECK(bench.deliver("t1") == "commit REVOKED ack");
  const std::uint64_t run = bench.running("t2");
  CHECK(bench.step(Control{RevokeTasks{{"t2"}, false, false}}) == "");  // without terminate it may finish
  CHECK(bench.step(Control{RevokeTasks{{"t2"}, true, false}}) == "ask");
  CHECK(bench.tick(5s) == "soft");
  CHECK(bench.tick(5s) == "kill");
  CHECK(bench.finish(run, Outcome::Kind::lost) == "commit REVOKED ack");
  CHECK(bench.entry().result->traceback == "killed, 10.00s after it was told");
}

TEST_CASE("the record of a terminated task says which step worked") {
  struct Row {
    Milliseconds after;
    Outcome::Kind kind;
    const char* said;
  };
  for (const Row& row : {Row{200ms, Outcome::Kind::cancelled, "stopped when asked, 0.20s after it was told"},
                         Row{6s, Outcome::Kind::cancelled, "stopped as by its soft limit, 6.00s after it was told"},
                         Row{1s, Outcome::Kind::failure, "ended by itself (no error), 1.00s after it was told"}}) {
    EngineBench bench;
    const std::uint64_t run = bench.running("t1");
    bench.step(Control{RevokeTasks{{"t1"}, true, false}});
    bench.tick(row.after);
    CHECK(bench.finish(run, row.kind) == "commit REVOKED ack");
    CHECK(bench.entry().result->traceback == row.said);
    CHECK(bench.entry().result->result_json.find("terminated") != std::string::npos);
  }
}

TEST_CASE("I21: what the broker remembers as revoked stops what waits and what comes, and not what runs") {
  EngineBench bench;
  const std::uint64_t run = bench.running("running");
  bench.deliver("waiting");
  CHECK(bench.step(Revoked{{{"running", 1h}, {"waiting", 1h}, {"later", 1h}}}) == "commit REVOKED ack");
  CHECK(bench.deliver("later") == "commit REVOKED ack");
  CHECK(bench.finish(run, Outcome::Kind::success) == "commit SUCCESS ack");
}

TEST_CASE("I21: a revoke that comes while an early acknowledgement is on its way keeps the task from starting") {
  EngineBench bench;
  bench.add("early", TaskOptions{.acks_late = false});
  Arrival message = bench.message("t1", "early");
  message.expires = bench.now.wall + 10s;
  bench.deliver(std::move(message));
  REQUIRE(bench.capacity(1) == "commit ack");
  const std::uint64_t run = bench.entry().run;
  SUBCASE("by remote control") { CHECK(bench.step(Control{RevokeTasks{{"t1"}, true, false}}) == ""); }
  SUBCASE("kept by the broker") { CHECK(bench.step(Revoked{{{"t1", 1h}}}) == ""); }
  SUBCASE("F123_and so does its expiry") { bench.advance(10s); }
  CHECK(bench.committed(run) == "commit REVOKED");  // acknowledged it is already
  CHECK(bench.committed(run) == "");
  CHECK(bench.engine().idle());
}

TEST_CASE("F123_a revoked message with an eta is revoked when it comes, parked or not") {
  EngineBench bench;
  bench.step(Revoked{{{"t1", 24h}}});
  Arrival later = bench.message("t1");
  later.eta = bench.now.wall + 1h;
  CHECK(bench.deliver(later) == "commit REVOKED ack");
}

TEST_CASE("an id is remembered as long as it was told to be, the longer time counting") {
  RevokedIds ids(3, 10s);
  const SteadyPoint start{1h};
  ids.add("a", start, 1h);
  ids.add("a", start, 1s);
  ids.add("b", start);
  CHECK(ids.contains("a", start + 59min));
  CHECK(ids.contains("b", start + 9s));
  CHECK_FALSE(ids.contains("b", start + 10s));
  CHECK_FALSE(ids.contains("a", start + 1h));
}

TEST_CASE("at the limit the id that was revoked first is forgotten") {
  RevokedIds ids(3, 10s);
  const SteadyPoint start{1h};
  for (const char* id : {"a", "b", "c", "d"}) ids.add(id, start);
  CHECK(ids.size() == 3);
  CHECK_FALSE(ids.contains("a", start));
  CHECK(ids.contains("d", start));
  ids.add("d", start);
  CHECK(ids.size() == 3);
}
