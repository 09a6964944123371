#pragma once
// Engine: every decision of a worker, as a state machine. Inputs in, effects out; no IO, no thread, no clock, no
// randomness. The loop (loop.cpp) drives it in production, a table or the simulator in tests.
//
// A message is `waiting` (held, not begun), `acking` (early acknowledgement on its way), `dispatched` (with the
// pool), or `committing` (its outcome is on its way to the stores). It leaves when its commit is confirmed.

#include "worker/effects.hpp"
#include "worker/rate.hpp"
#include "worker/recent.hpp"
#include "worker/revoked.hpp"

#include <deque>
#include <map>
#include <unordered_map>

namespace errand::protocol {
struct ExceptionInfo;
}

namespace errand::worker {

/// After a polite request to stop, each harder way gets this long to work.
inline constexpr Milliseconds kEscalateAfter{5'000};

struct EngineOptions {
  std::string node_name;
  std::size_t concurrency = 1;
  std::size_t prefetch_multiplier = 0;  ///< 0: as many as the pool takes
  std::optional<Milliseconds> time_limit, soft_time_limit;
  ResourceLimits limits;    ///< for tasks that name none
  bool has_results = true;  ///< there is a result backend
  bool result_extended = true;
  bool store_errors_even_if_ignored = false;
  Milliseconds lease{60'000};
  Milliseconds grace{30'000};
  Milliseconds hold_unstarted{1'000};
  std::uint32_t max_crashes = 3;
  std::uint32_t max_deliveries = 20;
  std::size_t max_revoked = 50'000;
  Milliseconds revoked_for{10'800'000};
  std::size_t max_recent = 10'000;  ///< ids remembered to recognise two messages with one id
  /// Which events anybody reads; the others are not written down. Null: all of them.
  bool (*reported)(Emit::What what) noexcept = nullptr;
};

/// The delivery's own token within that of a result (TaskResult::token), which begins with the attempt.
std::uint64_t delivery_token(std::uint64_t result_token) noexcept;
/// The attempt, retries and crashes together, within that of a result; 0 for the first, or when there is no token.
std::uint64_t attempt_of(std::uint64_t result_token) noexcept;

/// The options of a worker as far as its decisions go.
EngineOptions engine_options(const WorkerOptions& options, const BrokerTraits& broker, bool has_results);

class Engine {
 public:
  Engine(EngineOptions options, const Registry& registry);

  /// One step. Appends what is to be done to `out`, in order.
  void step(Input input, Now now, std::vector<Effect>& out);

  /// When Tick is due at the latest.
  std::optional<SteadyPoint> next_timer() const;

  /// How many messages to fetch when the pool would take `free` more. 0 while stopping.
  std::size_t wanted(std::size_t free) const noexcept;

  std::size_t held() const noexcept { return held_.size(); }
  std::size_t settled() const noexcept { return settled_; }
  /// Leases that were lost so far, whatever their message was doing.
  std::size_t leases_lost() const noexcept { return leases_lost_; }
  bool stopping() const noexcept { return stop_.has_value(); }
  /// Stopping coldly: it ends within seconds, whatever a store does.
  bool leaving() const noexcept { return stop_ == StopKind::cold; }
  bool idle() const noexcept { return held_.empty(); }

 private:
  enum class Phase { waiting, acking, dispatched, committing };
  struct Held {
    Phase phase = Phase::waiting;
    Arrival arrival;
    const TaskDefinition* task = nullptr;
    SteadyPoint since{};                     // when it entered its phase
    bool begun = false;                      // the pool said so
    bool settled = false;                    // acknowledged early, or its settlement is on its way
    bool acked = false;                      // acknowledged early, and that is safe: there is no lease any more
    bool lost = false;                       // its message is somebody else's: what it comes to does not count
    SteadyPoint ours_until{};                // nobody else can have the message before
    bool give_back = false;                  // stopping coldly: what it comes to does not count
    std::string revoked;                     // why it must not finish: "terminated"
    SteadyPoint told_at{};                   // to stop
    std::optional<SteadyPoint> escalate_at;  // next harder way to stop it
    Cancel escalated = Cancel::cooperative;
    bool quarantine = false;         // it killed its process too often: its end is the dead letters
    bool finishing = false;          // the pool runs the failure hooks of an attempt that ended outside the task
    std::shared_ptr<Outcome> ended;  // that outcome
  };

  void on(Delivered& input, Now now, std::vector<Effect>& out);
  void on(Capacity& input, Now now, std::vector<Effect>& out);
  void on(Started& input, Now now, std::vector<Effect>& out);
  void on(Progressed& input, Now now, std::vector<Effect>& out);
  void on(Finished& input, Now now, std::vector<Effect>& out);
  void on(ProcessEnded& input, Now now, std::vector<Effect>& out);
  void on(Reclaimed& input, Now now, std::vector<Effect>& out);
  void on(Committed& input, Now now, std::vector<Effect>& out);
  void on(Renewed& input, Now now, std::vector<Effect>& out);
  void on(LeasesLost& input, Now now, std::vector<Effect>& out);
  void on(Revoked& input, Now now, std::vector<Effect>& out);
  void on(Control& input, Now now, std::vector<Effect>& out);
  void on(Tick& input, Now now, std::vector<Effect>& out);
  void on(StopRequested& input, Now now, std::vector<Effect>& out);

  // admission.cpp: what becomes of a message before it runs
  void admit(Arrival arrival, Now now, std::vector<Effect>& out);
  bool ended_before(const Arrival& got) const;
  bool refuse_before_start(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out);
  void start(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out);

  // outcome.cpp: what becomes of it afterwards
  void finish(std::uint64_t run, Held& held, Outcome& outcome, Now now, std::vector<Effect>& out);
  void finish_outside(std::uint64_t run, Held& held, Outcome& outcome, const protocol::ExceptionInfo& error, Now now,
                      std::vector<Effect>& out);
  void retry(std::uint64_t run, Held& held, Outcome& outcome, Now now, std::vector<Effect>& out);
  void crashed(std::uint64_t run, Held& held, Outcome& outcome, Now now, std::vector<Effect>& out);
  void give_back(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out);
  void never_run(const Held& held, const Outcome& outcome, CommitEntry& entry, Now now) const;
  TaskResult record(const Held& held, std::string_view state, Now now) const;
  void end_sending(const Held& held, CommitEntry& entry, Now now) const;
  bool stores(const Held& held, bool error) const noexcept;
  void commit(std::uint64_t run, Held& held, CommitEntry entry, Now now, std::vector<Effect>& out);
  void refuse(std::uint64_t run, Held& held, std::string code, std::string detail, std::optional<TaskResult> result,
              Now now, std::vector<Effect>& out);
  void revoked_result(std::uint64_t run, Held& held, std::string why, Now now, std::vector<Effect>& out,
                      std::string how = {});
  void emit(Emit::What what, const Held& held, std::string detail, std::vector<Effect>& out,
            std::chrono::nanoseconds duration = {}) const;

  // revoke.cpp
  void revoke(const RevokeTasks& change, Now now, std::vector<Effect>& out);
  std::string stopped_how(const Held& held, const Outcome& outcome, Now now) const;

  // lease.cpp: whose the messages are
  void renew_if_due(Now now, std::vector<Effect>& out);
  SteadyPoint sure_until(SteadyPoint since) const noexcept;
  void lose(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out);

  // stop.cpp
  void stop_running(StopKind kind, Now now, std::vector<Effect>& out);
  void stop_waiting(Now now, std::vector<Effect>& out);
  void halt_if_done(std::vector<Effect>& out);

  EngineOptions options_;
  const Registry& registry_;
  std::uint64_t next_run_ = 1;
  std::map<std::uint64_t, Held> held_;  // ordered: effects come out in the order of arrival
  std::deque<std::uint64_t> waiting_;
  RevokedIds revoked_;
  RecentIds recent_;
  std::map<std::string, RateGate, std::less<>> rates_;
  std::map<std::string, std::pair<std::optional<Milliseconds>, std::optional<Milliseconds>>, std::less<>> limits_;
  SteadyPoint renew_at_ = SteadyPoint::max();
  SteadyPoint reclaimed_at_{};    // the pool was last asked for what has not begun too long
  SteadyPoint renewing_since_{};  // of the Extend that was not answered yet
  std::size_t leases_lost_ = 0;
  std::optional<StopKind> stop_;
  SteadyPoint stop_by_ = SteadyPoint::max();
  SteadyPoint leave_at_ = SteadyPoint::max();  // after a cold stop: when to wait no longer
  bool gave_up_ = false;                       // what does not die was given back
  bool interrupted_ = false;                   // the stop did not let everything finish
  bool halted_ = false;
  std::size_t settled_ = 0;
};

}  // namespace errand::worker
