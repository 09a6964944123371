// How users simulate their own tasks; docs/simulation.md shows the first of these.
#include <errand/context.hpp>
#include <errand/task.hpp>
#include <errand/testing.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

namespace {

using namespace errand;
using namespace std::chrono_literals;
using errand::testing::Simulation;

constexpr Task<int(std::string, int)> charge{"shop.charge", {"order", "cents"}};

/// A payment that takes half a second and fails once before it goes through.
int charge_card(TaskContext& task, const std::string&, int cents) {
  testing::rest(500ms);
  if (task.retries() == 0) throw std::runtime_error("the provider is busy");
  return cents;
}

Registry shop() {
  Registry registry;
  registry.add(charge, charge_card, {.retry = RetryPolicy::fixed(5s, 3)});
  return registry;
}

std::size_t runs_of(const Simulation& sim, const TaskId& id) {
  return static_cast<std::size_t>(
      std::count_if(sim.runs().begin(), sim.runs().end(), [&](const auto& run) { return run.id == id; }));
}

}  // namespace

TEST_CASE("a task of one's own runs, fails, is retried and succeeds in the simulated world") {
  const Registry registry = shop();
  Simulation sim(registry, {.seed = 1, .workers = 3});
  const TaskId id = sim.send(charge("order-7", 1200));
  sim.run_until_quiet();
  REQUIRE(sim.result(id));
  CHECK(sim.result(id)->state == "SUCCESS");
  CHECK(sim.result(id)->result_json == "1200");
  REQUIRE(runs_of(sim, id) == 2);
  // The retry waited for what its policy says, in simulated time.
  CHECK(sim.runs()[1].began - sim.runs()[0].ended >= 5s);
}

TEST_CASE("every promise holds while everything that a task cannot notice goes wrong") {
  const Registry registry = shop();
  for (const testing::Store store : {testing::Store::sqlite, testing::Store::redis, testing::Store::separate}) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      CAPTURE(seed);
      CAPTURE(to_string(store));
      Simulation sim(registry, {.seed = seed, .workers = 3, .store = store, .faults = testing::quiet_faults()});
      for (int i = 0; i < 20; ++i) {
        sim.send_after(std::chrono::seconds(i), [i] { return Signature(charge("order", i)); });
      }
      sim.run_until_quiet();
      CHECK(sim.dead_letters().empty());
    }
  }
}

TEST_CASE("I24: the same seed has the same history, another seed another one") {
  const Registry registry = shop();
  const auto history = [&](std::uint64_t seed) {
    Simulation sim(registry, {.seed = seed, .workers = 2, .faults = testing::all_faults()});
    for (int i = 0; i < 10; ++i) sim.send_after(i * 300ms, [i] { return Signature(charge("order", i)); });
    sim.run_until_quiet();
    return sim.trace_hash();
  };
  const std::string first = history(5);
  CHECK(history(5) == first);
  CHECK(history(6) != first);
}

TEST_CASE("F014: a task whose worker dies under it runs again on another") {
  const Registry registry = shop();
  Simulation sim(registry, {.seed = 3, .workers = 1});
  const TaskId id = sim.send(charge("order-8", 5));
  sim.run_for(200ms);
  REQUIRE(runs_of(sim, id) == 1);
  sim.crash_worker(0);
  CHECK_FALSE(sim.worker_lives(0));
  sim.start_worker(0);
  sim.run_until_quiet();
  CHECK(sim.result(id)->state == "SUCCESS");
  CHECK(runs_of(sim, id) == 3);
  CHECK(sim.runs()[0].outcome == "killed");
}

TEST_CASE("F024: a worker that was paused beyond its lease changes nothing when it wakes") {
  const Registry registry = shop();
  Simulation sim(registry, {.seed = 4, .workers = 2, .worker = {.concurrency = 1, .lease = 3s}});
  const TaskId id = sim.send(charge("order-9", 7));
  sim.run_for(200ms);
  REQUIRE(runs_of(sim, id) == 1);
  const std::size_t holder = sim.runs()[0].worker.starts_with("w0") ? 0 : 1;
  sim.pause_worker(holder, 60s);
  sim.run_for(90s);
  sim.run_until_quiet();
  CHECK(sim.result(id)->state == "SUCCESS");
  CHECK(std::any_of(sim.runs().begin(), sim.runs().end(),
                    [&](const auto& run) { return run.worker != sim.runs()[0].worker; }));
}

TEST_CASE("F022: a worker that is told to stop finishes what runs and gives back the rest") {
  const Registry registry = shop();
  Simulation sim(registry, {.seed = 5, .workers = 1, .worker = {.concurrency = 1}});
  for (int i = 0; i < 5; ++i) sim.send(charge("order", i));
  sim.stop_worker(0, StopKind::warm);
  sim.run_for(10s);
  CHECK_FALSE(sim.worker_lives(0));
  CHECK(sim.runs().size() <= 2);
  sim.start_worker(0);
  sim.run_until_quiet();
  CHECK(sim.runs().size() == 10);
}

TEST_CASE("a body of a chord runs once, when every member has succeeded") {
  constexpr Task<int(int)> member{"shop.member", {"value"}};
  constexpr Task<int(std::vector<int>)> sum{"shop.sum", {"values"}};
  Registry registry;
  registry.add(member, [](int value) { return value; });
  registry.add(sum, [](const std::vector<int>& values) {
    int total = 0;
    for (const int value : values) total += value;
    return total;
  });
  Simulation sim(registry, {.seed = 6, .workers = 2});
  const TaskId body = sim.send_chord({member(1), member(2), member(3)}, Signature("shop.sum"));
  sim.run_until_quiet();
  REQUIRE(sim.result(body));
  CHECK(sim.result(body)->result_json == "6");
  CHECK(runs_of(sim, body) == 1);
}

TEST_CASE("a store that is away is waited for, and a send that cannot wait says so") {
  const Registry registry = shop();
  Simulation sim(registry, {.seed = 7, .workers = 1});
  sim.take_store_away(60s);
  CHECK_THROWS_AS(sim.send(charge("order", 1)), Error);
  sim.run_for(70s);
  const TaskId id = sim.send(charge("order", 2));
  sim.run_until_quiet();
  CHECK(sim.result(id)->state == "SUCCESS");
}
