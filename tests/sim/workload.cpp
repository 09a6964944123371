#include "workload.hpp"

#include "testing/prng.hpp"

#include <errand/context.hpp>
#include <errand/error.hpp>
#include <errand/task.hpp>

#include <array>
#include <optional>

namespace sim {

using namespace errand;
using namespace std::chrono_literals;
using errand::testing::rest;

namespace {

constexpr Task<int(int)> quick{"sim.quick", {"ms"}};
constexpr Task<int(int)> slow{"sim.slow", {"ms"}};
constexpr Task<int(int, int)> flaky{"sim.flaky", {"fails", "ms"}};
constexpr Task<int(int, int)> jittered{"sim.jittered", {"fails", "ms"}};
constexpr Task<int(int)> broken{"sim.broken", {"ms"}};
constexpr Task<int(int)> early{"sim.early", {"ms"}};
constexpr Task<int(int)> quiet{"sim.quiet", {"ms"}};
constexpr Task<int(int)> tracked{"sim.tracked", {"ms"}};
constexpr Task<int(int)> limited{"sim.limited", {"ms"}};
constexpr Task<int(int)> rated{"sim.rated", {"ms"}};
constexpr Task<int(int)> stubborn{"sim.stubborn", {"ms"}};
constexpr Task<int(int)> parent{"sim.parent", {"children"}};
constexpr Task<int(int, int)> step{"sim.step", {"before", "add"}};
constexpr Task<int(std::vector<int>)> sum{"sim.sum", {"parts"}};
constexpr Task<int(int)> rejecting{"sim.rejecting", {"times"}};
constexpr Task<int(int)> asking{"sim.asking", {"ms"}};

// Of the world that runs on this thread; set by send_workload().
thread_local const Clock* world_clock = nullptr;

int work(TaskContext& context, int ms) {
  if (!rest(context, Milliseconds{ms})) context.check_cancelled();
  return ms;
}

int failing(TaskContext& context, int fails, int ms) {
  work(context, ms);
  if (context.retries() < static_cast<std::uint32_t>(fails)) throw std::runtime_error("not yet");
  return fails;
}

}  // namespace

Registry registry() {
  Registry tasks;
  tasks.add(quick, work);
  tasks.add(slow, work);
  tasks.add(flaky, failing, {.retry = RetryPolicy::fixed(2s, 4)});
  tasks.add(jittered, failing, {.retry = RetryPolicy::exponential(1s, 20s, 5)});
  tasks.add(broken, [](TaskContext& context, int ms) -> int {
    work(context, ms);
    throw std::runtime_error("as ever");
  });
  tasks.add(early, work, {.acks_late = false});
  tasks.add(quiet, work, {.ignore_result = true});
  tasks.add(tracked,
            [](TaskContext& context, int ms) {
              context.progress(1, 2);
              work(context, ms);
              context.progress(2, 2);
              return ms;
            },
            {.track_started = true});
  tasks.add(limited, work, {.time_limit = 4s, .soft_time_limit = 2s});
  tasks.add(rated, work, {.rate_limit = RateLimit{2, 1s}});
  tasks.add(stubborn, [](int ms) {
    rest(Milliseconds{ms});
    return ms;
  });
  tasks.add(parent, [](TaskContext& context, int children) {
    for (int i = 0; i < children; ++i) context.send(quick(10 * i));
    rest(20ms);
    return children;
  });
  tasks.add(step, [](TaskContext& context, int before, int add) {
    work(context, 5);
    return before + add;
  });
  tasks.add(sum, [](std::vector<int> parts) {
    int total = 0;
    for (const int part : parts) total += part;
    return total;
  });
  tasks.add(rejecting, [](TaskContext& context, int times) {
    work(context, 10);
    if (times == 0) throw Reject("never", false);
    // Not a count: a task has no memory that a crash could not take.
    if (times == 2 || world_clock->now().time_since_epoch().count() % 3 != 0) throw Reject("elsewhere", true);
    return times;
  });
  tasks.add(asking, [](TaskContext& context, int ms) {
    if (context.retries() == 0) throw Retry("later").in(Milliseconds{ms});
    return ms;
  });
  return tasks;
}

testing::SimulationOptions options_of(std::uint64_t seed, testing::Faults allowed) {
  testing::Prng random(seed ^ 0x5eed);
  testing::SimulationOptions options;
  options.seed = seed;
  options.workers = 1 + random.below(4);
  options.store = std::array{testing::Store::sqlite, testing::Store::redis, testing::Store::separate}[random.below(3)];
  // Some worlds are calm, some have one kind of fault, most have several.
  const std::uint64_t mood = random.below(10);
  testing::Faults faults = testing::no_faults();
  if (mood >= 8) {
    faults = testing::all_faults();
  } else if (mood >= 1) {
    const std::uint64_t kinds = mood < 4 ? 1 : 2 + random.below(4);
    for (std::uint64_t i = 0; i < kinds; ++i) faults |= testing::Faults{1} << random.below(testing::kFaults);
  }
  options.faults = faults & allowed;
  options.faults_for = Milliseconds{random.between(10'000, 180'000)};
  WorkerOptions& worker = options.worker;
  worker.concurrency = 1 + random.below(4);
  worker.prefetch_multiplier = random.below(3);
  worker.lease = Milliseconds{std::array{3'000, 10'000, 60'000}[random.below(3)]};
  worker.grace = Milliseconds{random.chance(0.5) ? 30'000 : 3'000};
  worker.result_extended = random.chance(0.3);
  worker.store_errors_even_if_ignored = random.chance(0.3);
  worker.max_crashes = 2 + static_cast<std::uint32_t>(random.below(3));
  worker.max_deliveries = 4 + static_cast<std::uint32_t>(random.below(17));
  return options;
}

namespace {

constexpr std::uint64_t kKinds = 20;

Signature one(testing::Prng& random, std::optional<std::uint64_t> kind, const Clock& clock) {
  const int ms = static_cast<int>(random.chance(0.7) ? random.between(1, 200) : random.between(200, 8'000));
  Signature call = [&]() -> Signature {
    switch (kind ? *kind : random.below(kKinds)) {
      case 0:
        return slow(static_cast<int>(random.between(5'000, kind ? 8'000 : 40'000)));
      case 1:
        return flaky(static_cast<int>(random.below(7)), ms % 300);
      case 2:
        return jittered(static_cast<int>(random.below(5)), ms % 300);
      case 3:
        return broken(ms % 500);
      case 4:
        return early(ms);
      case 5:
        return quiet(ms);
      case 6:
        return tracked(ms);
      case 7:
        return limited(static_cast<int>(random.between(100, 7'000)));
      case 8:
        return rated(ms % 100);
      case 9:
        return stubborn(static_cast<int>(random.between(1, kind ? 8'000 : 25'000)));
      case 10:
        return parent(static_cast<int>(random.below(5)));
      case 11:
        return Signature(step(1, 2)).then(Signature("sim.step", {10})).then(Signature("sim.step", {100}));
      case 12:
        return rejecting(static_cast<int>(random.below(3)));
      case 13:
        return asking(ms);
      case 14:
        return Signature("sim.unknown", {1});
      case 15:
        return Signature(quick(ms)).linked(Signature("sim.step", {7}));
      default:
        return quick(ms);
    }
  }();
  const std::uint64_t option = random.below(16);
  if (option == 0) call = std::move(call).countdown(Milliseconds{random.between(100, 30'000)});
  if (option == 1) call = std::move(call).eta(clock.now() + Milliseconds{random.between(-5'000, 90'000)});
  if (option == 2) call = std::move(call).expires(Milliseconds{random.between(50, 20'000)});
  if (option == 3) call = std::move(call).priority(static_cast<int>(random.below(10)));
  if (option == 4) call = std::move(call).time_limit(Milliseconds{random.between(200, 5'000)});
  return call;
}

}  // namespace

void send_workload(testing::Simulation& simulation, std::uint64_t seed, std::size_t tasks) {
  testing::Prng random(seed ^ 0x7a5c);
  const std::size_t count = std::min<std::size_t>(tasks, 5 + random.below(40));
  const Clock& clock = simulation.clock();
  world_clock = &clock;
  // Some worlds have tasks of one kind only, so that many of them meet.
  std::optional<std::uint64_t> kind;
  if (random.chance(0.25)) kind = random.below(kKinds);
  for (std::size_t i = 0; i < count; ++i) {
    const auto own = random.next();
    const Milliseconds when{random.chance(0.5) ? random.between(0, 2'000) : random.between(0, 120'000)};
    simulation.send_after(when, [own, kind, &clock] {
      testing::Prng mine(own);
      return one(mine, kind, clock);
    });
  }
  if (count < 8 || !random.chance(0.4)) return;
  std::vector<Signature> members;
  const std::uint64_t size = 2 + random.below(4);
  for (std::uint64_t i = 0; i < size; ++i) {
    members.push_back(random.chance(0.15) ? Signature(flaky(6, 10))
                                          : Signature(quick(static_cast<int>(random.below(3'000)))));
  }
  try {
    simulation.send_chord(std::move(members), Signature("sim.sum"));
  } catch (const Error&) {
    // Refused or in doubt, as the faults would have it.
  }
}

}  // namespace sim
