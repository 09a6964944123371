#pragma once
// Worker: takes messages from queues, runs their tasks in a pool, stores what came of them.
//
//   errand::Registry registry;  registry.add(thumbnail, make_thumbnail);
//   errand::Worker worker({.broker_url = "redis://localhost/0", .queues = {"media"}, .concurrency = 4}, registry);
//   return worker.run();                 // until SIGTERM; the exit code of the program
//
// Signals: SIGTERM and the first SIGINT stop warmly, the next one softly, the one after it coldly; SIGQUIT is cold.

#include <errand/drivers.hpp>
#include <errand/pool.hpp>
#include <errand/registry.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace errand {

/// How a worker stops. Each later one may follow an earlier one; never the reverse.
enum class StopKind {
  warm,  ///< fetch nothing more, give back what has not begun, finish what runs (up to `grace`)
  soft,  ///< as warm, and ask what runs to stop (cooperative cancel); what does not is killed after `grace`
  cold,  ///< kill what runs and give its messages back at once
};

/// Everything a worker can be told. Defaults are those of the configuration table (docs/configuration.md).
struct WorkerOptions {
  std::string broker_url = "sqlite:///errand.db";
  std::string result_backend_url{};  ///< "": the broker's own store where it has one; "disabled": none
  TransportOptions transport{};
  std::vector<QueueSpec> queues{QueueSpec{"celery", "", "direct", ""}};
  std::string node_name{};       ///< "": celery@<host>
  std::string pool = "prefork";  ///< prefork | threads | solo
  std::size_t concurrency = 0;   ///< 0: number of CPUs
  /// Most messages held per slot, running one included. 0: as many as keep the slots busy, by measured
  /// run time, and never one that waits while another worker is free.
  std::size_t prefetch_multiplier = 0;
  std::size_t max_tasks_per_child = 0;
  std::size_t max_memory_per_child_kib = 0;
  std::optional<Milliseconds> time_limit{};  ///< for tasks and messages that name none
  std::optional<Milliseconds> soft_time_limit{};
  ResourceLimits limits{};  ///< for tasks that name none; kept by prefork
  bool result_extended = true;
  bool store_errors_even_if_ignored = false;
  std::optional<bool> typed_json{};  ///< unset: on unless Python may read the queue
  std::size_t max_result_bytes = 16u << 20;
  Milliseconds lease{60'000};          ///< how long a message stays ours without renewal; renewed at a third
  Milliseconds grace{30'000};          ///< how long a stop waits for running tasks
  std::uint32_t max_crashes = 3;       ///< attempts that may kill their process before the message is dead
  std::uint32_t max_deliveries = 20;   ///< deliveries of one message before it is dead
  Milliseconds hold_unstarted{1'000};  ///< a message not begun by then is given back
  std::size_t max_revoked = 50'000;    ///< remembered revoked ids; the oldest go first
  Milliseconds revoked_for{10'800'000};
  bool control = true;                      ///< listen to remote control where the broker has fanout
  std::optional<std::size_t> stop_after{};  ///< stop warmly once that many messages were settled (tests, one-shot)
  bool stop_when_idle = false;              ///< stop warmly once nothing is ready, parked or running (--burst)
  bool handle_signals = true;               ///< false: the embedding program calls request_stop itself
};

/// One worker. Construct it before any thread exists when the pool is prefork. run() is called once, from one
/// thread; request_stop() from any thread or signal handler.
class Worker {
 public:
  /// Checks the options; throws Error{invalid} naming the one that is wrong. Connects in run().
  Worker(WorkerOptions options, const Registry& registry);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Runs until stopped. Returns the exit code: 0 when all that ran could finish, 1 when the stop cut tasks short or an
  /// outcome was not stored, 69 when the broker was never reached. Throws Error when the first connection is refused.
  int run();

  void request_stop(StopKind kind) noexcept;

  /// Called on the worker's thread once it consumes; for tests and embedding programs.
  std::function<void()> on_ready;
  /// Called on SIGHUP, on a thread of its own, when signals are handled; unset: SIGHUP keeps its meaning.
  std::function<void()> on_reload;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace errand
