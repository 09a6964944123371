#pragma once
// What a worker does about it: the effects of the engine. Values only; the loop carries them out.

#include "worker/inputs.hpp"

namespace errand::worker {

/// Hand it to the pool.
struct Run {
  Execution execution;
};

/// A member of a chord has ended.
struct ChordReport {
  std::string group;
  ChordPart part;
  std::string chord_json;  ///< embed.chord, raw: the body
  std::string signed_by;   ///< the key that the member's message was signed with; "": none
};

/// What a member whose result is stored already has to tell its chord, in case its worker died before it did; nullopt
/// when it is a member of none.
std::optional<ChordReport> chord_report_again(const Arrival& stored);

/// What must be made safe together for one run, in this order: announced chords, follow-ups, results, chord reports,
/// settlement. `run` 0: nobody waits to hear of it.
struct CommitEntry {
  std::uint64_t run = 0;
  std::vector<Outcome::ChordSize> chord_sizes;
  std::vector<Envelope> follow_ups;
  std::optional<TaskResult> result;
  std::optional<Settlement> settlement;
  std::vector<TaskResult> more_results;     ///< chain steps that will never run
  std::optional<TaskResult> sending_ended;  ///< see Delivery::sending_id; void if the acknowledgement is refused
  std::vector<ChordReport> chord_reports;
  std::shared_ptr<const Message> message;  ///< the member's, for root and priority of the chord's body
};

/// Renew the leases of everything held.
struct Extend {
  std::vector<Receipt> receipts;
};
struct Kill {
  std::uint64_t run = 0;
  Cancel how = Cancel::cooperative;
  std::string reason;
};
/// Ask the pool for executions that have not begun.
struct Reclaim {};

/// Something a person or a monitor may want to know.
struct Emit {
  enum class What {
    received,
    started,
    succeeded,
    failed,
    retried,
    revoked,
    rejected,
    dead_lettered,
    returned,
    parked,
    lost,        ///< its process died
    lease_lost,  ///< somebody else has the message: what it came to here does not count
    repeated,    ///< it had ended before and only its acknowledgement was lost
    abandoned,   ///< left behind by a stop that could not wait any longer
  };
  What what = What::received;
  TaskId id;
  std::string task;
  std::string queue;
  std::uint32_t retries = 0;
  std::chrono::nanoseconds duration{};
  std::string detail;  ///< error text, reason code, wait
};

/// A process of the pool has ended; logged with the task it was running.
struct ProcessReport {
  int pid = 0;
  int status = 0;
  TaskId id;
  std::string task;
};

/// The worker is done; leave the loop with this exit code.
struct Halt {
  int exit_code = 0;
};

using Effect = std::variant<Run, CommitEntry, Extend, Kill, Reclaim, Emit, ProcessReport, Halt>;

}  // namespace errand::worker
