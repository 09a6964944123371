#pragma once
// Simulation: your own tasks in a simulated world, where machines die, stores go away and clocks jump, and every
// promise of Errand is checked after every step. One thread, no server, no waiting: simulated hours take milliseconds,
// and a seed names one history that is the same each time.
//
//   errand::Registry registry;  registry.add(charge, charge_card);
//   errand::testing::Simulation sim(registry, {.seed = 1, .workers = 3, .faults = errand::testing::all_faults()});
//   const errand::TaskId id = sim.send(charge("order-7", 1200));
//   sim.run_until_quiet();                          // throws BrokenPromise when Errand, not your task, was wrong
//   assert(sim.result(id)->state == "SUCCESS");
//
// The workers are the real ones: the same engine, committer, loop, client and runner as in production, driven against
// models of the SQLite and Redis drivers. Your task's function runs for real, in a fiber of 512 KiB; what takes time in
// it says so with errand::testing::rest(), and what needs the time reads Simulation::clock(). docs/simulation.md has
// more.

#include <errand/message.hpp>
#include <errand/registry.hpp>
#include <errand/result_backend.hpp>
#include <errand/signature.hpp>
#include <errand/time.hpp>
#include <errand/worker.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace errand::testing {

/// What can go wrong in a simulated world.
enum class Fault : unsigned {
  worker_crash,       ///< a worker dies at a random moment and is started again
  crash_in_step,      ///< a worker dies just before or after a step at its store took effect
  pause,              ///< a worker is stopped beyond its lease, then wakes
  store_away,         ///< nobody reaches the store for a while
  store_overloaded,   ///< the store refuses to take more for a while
  lost_answer,        ///< a step took effect, or did not, and its answer never came
  slow_network,       ///< steps take seconds
  clock_step,         ///< a wall clock jumps, up to an hour in either direction
  clock_drift,        ///< a wall clock runs too fast or too slow
  duplicate_message,  ///< the broker has a message twice
  child_crash,        ///< the process that runs a task dies
  late_reports,       ///< what the pool reports reaches the worker late
  revoke,             ///< somebody revokes a task, with or without terminating it
  rolling_restart,    ///< a worker is stopped warmly and started again, as a deployment does
  hard_stop,          ///< a worker is told to stop at once
  foreign_worker,     ///< a worker of Python's serves the same queue, and sometimes dies (Redis)
  put_back,           ///< an operator puts a dead letter back on its queue
};
inline constexpr unsigned kFaults = 17;  ///< how many there are
/// "worker_crash", ...: as `errand-sim --faults` reads them.
std::string_view to_string(Fault fault) noexcept;

/// A set of faults, by bit.
using Faults = std::uint32_t;
constexpr Faults bit(Fault fault) noexcept { return Faults{1} << static_cast<unsigned>(fault); }
constexpr Faults no_faults() noexcept { return 0; }
constexpr Faults all_faults() noexcept { return (Faults{1} << kFaults) - 1; }
/// Those that a task can never notice as a change of its result: nobody revokes it and nothing it runs in dies.
constexpr Faults quiet_faults() noexcept {
  return all_faults() &
         ~(bit(Fault::revoke) | bit(Fault::child_crash) | bit(Fault::foreign_worker) | bit(Fault::put_back));
}

/// Which store the simulated workers use.
enum class Store {
  sqlite,    ///< one file: follow-ups, result and acknowledgement are one transaction
  redis,     ///< one server: they are one script; Python workers may share it
  separate,  ///< messages in Redis, results elsewhere: three steps, and a crash can fall between any two
};
std::string_view to_string(Store store) noexcept;

/// What a world is made of. The same options and registry give the same history.
struct SimulationOptions {
  std::uint64_t seed = 1;
  std::size_t workers = 2;
  Store store = Store::redis;
  Faults faults = no_faults();
  Milliseconds faults_for{120'000};  ///< then everything heals and must end within `heal_within`
  Milliseconds heal_within{600'000};
  /// Options of every worker; what names servers, processes and threads does not apply.
  WorkerOptions worker{.concurrency = 2};
  std::string queue = "celery";  ///< for calls whose task names none
  bool quiet = true;             ///< the workers' own log lines are not printed
};

/// Errand broke a promise. what() has the promise, the seed and the last lines of the trace.
class BrokenPromise : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One attempt to run a task, as the simulation saw it.
struct Run {
  TaskId id;
  std::string task;
  std::string worker;
  std::uint32_t retries = 0;
  std::chrono::nanoseconds began{}, ended{};  ///< since the start of the world; `ended` zero while it runs
  std::string outcome;                        ///< "success", "failure", "retry", ..., "killed"; "" while it runs
};

/// A simulated world. Used by one thread; only one at a time lives on it.
class Simulation {
 public:
  /// The registry must outlive it.
  Simulation(const Registry& registry, SimulationOptions options);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  /// Sends through the real client and lets the world go on until the broker has answered. Throws Error as
  /// Client::send does: with faults, a store can be away for too long, and what is in doubt may still run.
  TaskId send(Signature call);
  /// A group whose results are given to `body` (immutable: not) when all of them succeeded. Returns the body's id.
  TaskId send_chord(std::vector<Signature> members, Signature body);
  /// Sends later, while the world runs. A send that fails then is noted in the trace.
  void send_after(std::chrono::nanoseconds wait, std::function<Signature()> make);

  /// Asks every worker that lives to forget the task, as `errand revoke` does.
  void revoke(const TaskId& id, bool terminate = false);

  void run_for(std::chrono::nanoseconds time);
  /// Runs until nothing is queued, parked, held or about to be sent, first through the faults, then healed. Throws
  /// BrokenPromise when something has not ended `heal_within` after healing, or when any other promise was broken.
  void run_until_quiet();

  std::optional<TaskResult> result(TaskIdView id) const;
  std::vector<DeadLetter> dead_letters() const;
  /// Every attempt so far, in the order in which they began.
  const std::vector<Run>& runs() const;

  // By hand, for tests of one situation. Workers count from 0.
  void crash_worker(std::size_t worker);
  void start_worker(std::size_t worker);
  void stop_worker(std::size_t worker, StopKind kind);
  void pause_worker(std::size_t worker, std::chrono::nanoseconds time);
  bool worker_lives(std::size_t worker) const;
  /// Nobody reaches the store for so long.
  void take_store_away(std::chrono::nanoseconds time);

  /// The true time of the world; tasks may read it while they run.
  const Clock& clock() const;
  /// SHA-256 of everything that happened so far: equal for equal seeds (invariant I24).
  std::string trace_hash() const;
  /// The last lines of the trace, at most 2000.
  std::vector<std::string> trace() const;
  /// Called with each line of the trace as it comes.
  void on_trace(std::function<void(const std::string&)> listener);
  /// How often each kind of fault, input and effect happened, by name.
  const std::map<std::string, std::uint64_t, std::less<>>& counters() const;
  std::uint64_t events() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Lets simulated time pass inside a task; outside a simulation it really waits.
void rest(std::chrono::nanoseconds time);
/// The same, but ends early when the task should stop. True: the whole time has passed.
bool rest(TaskContext& task, std::chrono::nanoseconds time);

}  // namespace errand::testing
