#pragma once
// Ledger: what was promised and what came of it, kept outside the product, and the invariants that follow
// (docs/simulation.md lists them). It believes only what it saw itself: bodies that began and ended, messages that the
// store took, gave out and let go, records that were written.

#include "testing/process.hpp"
#include "testing/results_model.hpp"
#include "testing/store_model.hpp"

#include <errand/pool.hpp>
#include <errand/testing.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace errand::testing {

/// The property in which a delivery's message says which delivery it is.
inline constexpr std::string_view kDeliveryMark = "errand_simulation";
/// How a run ended whose process died by itself.
inline constexpr std::string_view kCrashed = "crashed";

/// One delivery: number of the message, token.
using Claim = std::pair<std::uint64_t, std::uint64_t>;
Claim claim_of(const Message& message);

class Ledger final : public StoreWatcher, public ResultsWatcher {
 public:
  explicit Ledger(Cluster& cluster) : cluster_(cluster) {}

  /// Notes the first broken promise; the simulation ends with it after this event.
  void broken(std::string_view invariant, std::string what);
  const std::string& verdict() const noexcept { return verdict_; }

  // What senders know.
  enum class Answer { acknowledged, refused, in_doubt };
  void sent(const TaskId& id, Answer answer);
  void chord(std::string group, std::vector<TaskId> members, TaskId body);
  /// Somebody may run it once more than it was sent, through no fault of Errand's.
  void excuse(const TaskId& id, std::string_view why);

  // What workers do.
  void publishing(Process& process, std::span<const Envelope> envelopes);
  void dispatched(Process& process, const Execution& execution);
  void began(Process& process, const Execution& execution);
  void ended(Process& process, const Execution& execution, const Outcome& outcome, std::string_view how);
  void killed(Process& process, const Execution& execution, std::string_view how);
  void foreign_ended(const TaskId& id) { life(id).ran_well = true; }
  void foreign_began(Process& process, const Delivery& delivery);
  void revoked(const Process& process, const TaskId& id);
  void worker_gone(const Process& process, bool warm, SteadyPoint asked);
  /// It ended, however: what it had acknowledged early and not run is lost with it.
  void gone(const Process& process);
  Process* writer = nullptr;

  // What the store sees.
  void arrived(const Item& item) override;
  void claimed(const Item& item) override;
  void returned(const Item& item, Return why) override;
  void settled(const Item& item, const Settlement& settlement) override;
  void stale(const Receipt& receipt, std::string_view owner) override;
  void put_back(const Item& item) override;
  void removed(const Item& item) override;
  void written(const TaskResult& result, const TaskResult* before, bool accepted) override;

  /// No queue has it any more and it has not ended: a task that was acknowledged early.
  bool owes() const noexcept { return !owed_.empty(); }
  /// Everything has ended: whether everything that was promised happened.
  void judge();
  const std::vector<Run>& runs() const noexcept { return runs_; }

 private:
  struct Body {  // of one delivery
    std::string worker, owner;
    TaskId task_id;
    bool dispatched = false, began = false, ended = false, foreign = false;
    std::string how;
    Outcome::Kind kind = Outcome::Kind::success;
    std::uint32_t retries = 0;
    std::vector<TaskId> follow_ups;
    std::size_t run = 0;  // index into runs_
    std::uint64_t dispatched_turn = 0;
    SteadyPoint dispatched_at{};
    TimePoint latest{};  // that the store's clock showed while it came; in a file it may step back
    std::optional<Milliseconds> time_limit;
    bool knew_success = false;          // a redelivery whose success was stored before it was handed out
    std::uint64_t errors_at_claim = 0;  // of the worker
  };
  struct Life {  // of one task id
    std::optional<Answer> answer;
    std::string task, body;
    std::optional<TimePoint> expires;
    std::uint64_t arrivals = 0, executions = 0, excuses = 0, again = 0, revoked = 0;
    std::uint32_t highest_retry = 0, highest_crash = 0;
    std::uint64_t crashes = 0, put_back = 0;  // processes it killed, times an operator put it back
    bool ran_well = false, early = false, ignored = false;
    bool may_be_lost = false;  // acknowledged early by a worker that then ended, or never heard that it was
    std::string excused_by;
    std::map<std::string, std::uint64_t> published_by;  // process and attempt -> errors it had seen then
    std::set<std::string> published;                    // attempts
    std::map<std::uint32_t, SteadyPoint> not_before;    // retry -> when it may begin
    std::optional<Claim> record_by;                     // the delivery that wrote what is stored
  };
  struct Chord {
    std::vector<TaskId> members;
    TaskId body;
  };

  const Process* process_of(std::string_view owner) const;
  Life& life(const TaskId& id) { return lives_[id]; }
  void check_dispatch(Process& process, const Execution& execution, const Claim& claim, const Life& life);
  void check_rate(const Process& process, const Execution& execution, const Life& life);
  void check_pace(const Item& item);
  void check_held(const Process& process, const Item& item);
  void check_times(Process& process, const Execution& execution, const Life& life, Body& body);
  void check_acknowledged(const Item& item, const Body& body, Life& life);
  void check_retry(const Process& process, const Execution& execution, const Outcome& outcome);
  void judge_task(const TaskId& id, const Life& life);
  void judge_chords();
  bool dead(const TaskId& id) const;
  bool lives_twice(const Item& item) const;
  bool sender_excused(const TaskId& id, const Message& message);
  bool may_store_nothing(const Life& life, bool error) const;

  Cluster& cluster_;
  std::string verdict_;
  std::map<TaskId, Life> lives_;
  std::map<Claim, Body> bodies_;
  std::map<std::string, Chord> chords_;
  std::map<TaskId, std::string> body_of_;                               // chord body -> group
  std::map<std::pair<std::string, TaskId>, std::uint64_t> revoked_at_;  // process, id -> its turn
  std::map<std::pair<std::string, TaskId>, Claim> latest_;              // process, id -> its last delivery
  std::vector<Run> runs_;
  std::map<Claim, SteadyPoint> over_;                       // deliveries whose lease was lost, and when
  std::map<std::uint64_t, std::vector<SteadyPoint>> pace_;  // message -> its last deliveries
  std::map<std::pair<std::string, std::string>, std::vector<SteadyPoint>> started_;  // process, task -> with a rate
  std::map<TaskId, std::string> owed_;               // to the owner that acknowledged it early
  std::map<std::uint64_t, std::uint64_t> put_back_;  // and not run since: with the excuses of its task at that time
  std::map<std::pair<std::string, std::uint32_t>, std::vector<Milliseconds>> jittered_;  // task, retries -> waits drawn
};

}  // namespace errand::testing
