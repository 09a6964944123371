#pragma once
// The worker's main loop: one thread that owns the engine, the consumer and the committer.
//
// Each round: take what the pool, the controller and the signals reported; let the engine decide; hand executions to
// the pool; make outcomes safe; fetch as much as the pool will take. It waits in exactly one place, Consumer::next,
// and everything that happens elsewhere wakes it there. It reads no clock but the one it is given, so that the
// simulator (src/testing) drives this very loop.

#include "core/backoff.hpp"
#include "worker/committer.hpp"
#include "worker/engine.hpp"
#include "worker/notify.hpp"

#include <errand/broker.hpp>

#include <condition_variable>
#include <mutex>

namespace errand::worker {

/// Where other threads leave inputs for the loop. Bounded by what the pool holds plus the control commands in
/// flight; a drain takes everything at once, so the lock is held for a swap.
class Inbox {
 public:
  /// Whom a post wakes; nullptr before that consumer goes, also when an error ends the loop.
  void bind(Consumer* consumer) noexcept;
  void post(Input input);
  void post_finished(std::vector<Outcome> outcomes);
  void drain(std::vector<Input>& into);
  /// Before there is a consumer to wait in: true as soon as somebody asked to stop, false at the deadline.
  bool stop_asked(Deadline deadline);
  /// As post(), and returns when its effects are on their way; false at the deadline.
  bool post_and_wait(Input input, Deadline deadline);
  /// The loop has done everything that came of what it drained last.
  void handled();
  /// The loop has ended: nobody waits for it any more.
  void close();

 private:
  void arrived(bool first);

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Input> inputs_;
  std::condition_variable handled_changed_;
  std::uint64_t drains_ = 0, handled_ = 0;
  std::size_t waiters_ = 0;
  bool closed_ = false;
  Consumer* consumer_ = nullptr;
};

/// The pool's reports, as inputs.
class InboxSink final : public PoolSink {
 public:
  explicit InboxSink(Inbox& inbox) : inbox_(inbox) {}
  void started(std::uint64_t run, int pid) override { inbox_.post(Started{run, pid}); }
  void progressed(Progress progress) override { inbox_.post(Progressed{std::move(progress)}); }
  void finished(Outcome outcome) override { inbox_.post(Finished{std::move(outcome)}); }
  void finished_all(std::vector<Outcome> outcomes) override { inbox_.post_finished(std::move(outcomes)); }
  void process_ended(int pid, int status, std::uint64_t running) override {
    inbox_.post(ProcessEnded{pid, status, running});
  }
  void room() override { inbox_.post(Tick{}); }  // the loop looks at the pool in every turn

 private:
  Inbox& inbox_;
};

struct LoopOptions {
  Milliseconds lease{60'000};
  std::optional<std::size_t> stop_after;
  bool stop_when_idle = false;
  std::vector<std::string> queues;
  /// Declared again now and then where a broker may forget it (BrokerTraits::durable is false).
  Topology topology;
};

class Loop {
 public:
  Loop(LoopOptions options, Engine& engine, Broker& broker, Consumer& consumer, ResultBackend* results, Pool& pool,
       Inbox& inbox, const Systemd& systemd, const Clock& clock);

  /// Runs until the engine halts; returns its exit code.
  int run();

 private:
  void step(Input input);
  void carry_out();
  void commit();
  void lose();
  bool fetch();
  void look_up(Arrival& arrival);
  std::size_t wanted() const;
  void look_at_clocks() { now_ = {clock_.now() + consumer_.clock_ahead(), clock_.steady()}; }
  Deadline next_wake() const;
  bool settled_enough() const;
  void stop_if_idle();
  void redeclare();

  LoopOptions options_;
  Engine& engine_;
  Broker& broker_;
  Consumer& consumer_;
  ResultBackend* results_;
  Pool& pool_;
  Inbox& inbox_;
  const Systemd& systemd_;
  const Clock& clock_;
  Committer committer_;
  Now now_;
  std::vector<Input> inputs_;
  std::vector<Effect> effects_, carried_;  // decided; being carried out
  std::vector<Execution> runs_;
  std::optional<int> exit_code_;
  bool tried_last_ = false;
  std::optional<SteadyPoint> fetch_after_;  // the broker is away: when to try again
  core::Backoff fetch_backoff_{core::kReconnect};
  SteadyPoint watchdog_at_ = SteadyPoint::max();
  SteadyPoint declare_at_ = SteadyPoint::max();
};

/// Decodes what a consumer handed out; never throws for what a message contains.
Arrival to_arrival(Delivery&& delivery);

}  // namespace errand::worker
