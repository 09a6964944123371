#pragma once
// What can happen to a worker: the inputs of the engine. Values only.

#include <errand/broker.hpp>
#include <errand/pool.hpp>
#include <errand/worker.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace errand::worker {

/// Both clocks, read once per step by whoever drives the engine.
struct Now {
  TimePoint wall{};
  SteadyPoint steady{};
};

/// One message as the consumer handed it out, headers decoded. Either it has a name and an id, or a defect.
struct Arrival {
  Receipt receipt;
  Route route;
  bool redelivered = false;
  std::uint32_t deliveries = 1;
  std::shared_ptr<const Message> message;

  TaskId id;
  std::string task;
  std::string root_id, parent_id, group_id;
  std::optional<TimePoint> eta, expires;
  std::uint32_t retries = 0;
  std::uint32_t crashes = 0;  ///< earlier attempts that killed their process (header errand_crashes)
  std::optional<Milliseconds> time_limit, soft_time_limit;
  std::optional<bool> ignore_result;
  std::optional<std::int64_t> group_index;
  int priority = 0;

  std::string defect_code;  ///< not empty: cannot be run; stable reason for the dead letter
  std::string defect_detail;
  // Of the task's record, looked up for redelivered messages and for retries; "" unknown
  // or none.
  std::string stored_state;
  std::string stored_result_json;
  std::uint32_t stored_retries = 0;
  std::uint64_t stored_token = 0;
  std::uint64_t life_token = 0;  ///< see Delivery
  TaskId sending_id;             ///< see Delivery
  std::string signed_by;         ///< see Delivery
  bool sending_ended = false;    ///< looked up: a message of this one sending was acknowledged before
};

struct Delivered {
  std::vector<Arrival> arrivals;
};
/// The pool would take that many executions now.
struct Capacity {
  std::size_t free = 0;
};
struct Started {
  std::uint64_t run = 0;
  int pid = 0;
};
struct Progressed {
  Progress progress;
};
struct Finished {
  Outcome outcome;
};
/// A process of the pool ended (status as of wait(2)); `running` is the run it took along, or 0.
struct ProcessEnded {
  int pid = 0;
  int status = 0;
  std::uint64_t running = 0;
};
/// The pool gave these back: they had not begun.
struct Reclaimed {
  std::vector<std::uint64_t> runs;
};
/// The entries of these runs are safe: stored, published, settled.
struct Committed {
  std::vector<std::uint64_t> runs;
};
/// What became of an Extend.
struct Renewed {
  bool done = false;
};
/// These messages are somebody else's by now.
struct LeasesLost {
  std::vector<Receipt> receipts;
};
/// Remote control, as far as it changes decisions.
struct RevokeTasks {
  std::vector<TaskId> ids;
  bool terminate = false;
  bool kill = false;  ///< with terminate: do not ask first
};
struct SetRateLimit {
  std::string task;
  RateLimit limit;
};
struct SetTimeLimits {
  std::string task;
  std::optional<Milliseconds> soft, hard;
};
/// The broker remembers these as revoked; some may be known already.
struct Revoked {
  std::vector<RevokedTask> tasks;
};
using Control = std::variant<RevokeTasks, SetRateLimit, SetTimeLimits>;
/// Nothing happened, but time passed.
struct Tick {};
struct StopRequested {
  StopKind kind = StopKind::warm;
  SteadyPoint at = SteadyPoint::max();  ///< when it was asked for, if that was before now: a loop may wait for a store
};

using Input = std::variant<Delivered, Capacity, Started, Progressed, Finished, ProcessEnded, Reclaimed, Committed,
                           Renewed, LeasesLost, Revoked, Control, Tick, StopRequested>;

}  // namespace errand::worker
