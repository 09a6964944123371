// Committer, the part that joins chords: a member's end is booked after its result is stored and before its message is
// acknowledged, so that a crash in between books it again, and the store counts each member once.
#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "protocol/body.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/exception.hpp"
#include "protocol/follow_ups.hpp"
#include "worker/committer.hpp"

namespace errand::worker {

std::optional<ChordReport> chord_report_again(const Arrival& stored) {
  if (stored.group_id.empty() || stored.message == nullptr) return std::nullopt;
  try {
    // The one place where the supervisor reads a body: a rare one, after a crash.
    const Value chord = protocol::Body(*stored.message).embed().chord;
    if (chord.is_null()) return std::nullopt;
    return ChordReport{stored.group_id,
                       {stored.id, stored.stored_state, stored.stored_result_json, stored.group_index},
                       to_json(chord),
                       stored.signed_by};
  } catch (const protocol::DecodeFailure&) {
    return std::nullopt;
  }
}

void Committer::with_chords(CommitEntry& entry) {
  fence({&entry});
  if (results_ != nullptr) {
    for (const Outcome::ChordSize& chord : entry.chord_sizes) results_->set_chord_size(chord.group, chord.size);
  }
  gather({&entry});
  publish({&entry});
  if (!outcomes_.empty() && results_ != nullptr) results_->put(outcomes_);
  for (const ChordReport& report : entry.chord_reports) report_chord(report, *entry.message);
  if (entry.settlement) consumer_.settle({&*entry.settlement, 1});
}

void Committer::report_chord(const ChordReport& report, const Message& member) {
  if (results_ == nullptr || !results_->traits().chords) {
    log::warning("chord.unsupported", "a chord's member has ended, but the result backend cannot join chords",
                 {{"group", report.group}, {"task_id", report.part.id}});
    return;
  }
  ERRAND_FAILPOINT("chord.before_count");
  const ChordProgress progress = results_->chord_part_done(report.group, report.part);
  if (!progress.complete) return;
  ERRAND_FAILPOINT("chord.between");
  const protocol::TaskMessage last = protocol::decode_task(member);
  const Value body = parse_json(report.chord_json, JsonLimits{.depth = protocol::kEmbedJsonDepth});
  protocol::FollowUpOptions options;
  options.now = wall_;
  options.origin = protocol::sender_origin();
  options.park = !broker_.traits().foreign_readers;
  protocol::FollowUps sends;
  if (progress.failed_member.empty()) {
    sends = protocol::chord_body(last, body, progress.results, options);
  } else {
    protocol::ChordFailure failure = protocol::chord_failed(last, body, progress.failed_member,
                                                            protocol::read_exception(progress.failure_json), options);
    std::vector<TaskResult> failures;
    for (TaskId& id : failure.ids) {
      TaskResult result;
      result.id = std::move(id);
      result.state = std::string(state::failure);
      result.result_json = failure.error.to_json();
      result.done_at = options.now;
      failures.push_back(std::move(result));
    }
    results_->put(failures);
    sends = std::move(failure.errbacks);
  }
  for (const protocol::ChordSize& chord : sends.chords) results_->set_chord_size(chord.group, chord.size);
  for (Envelope& envelope : sends.envelopes) envelope.asked_by = report.signed_by;
  if (!sends.envelopes.empty()) broker_.publish(sends.envelopes);
  ERRAND_FAILPOINT("chord.after_publish");
}

}  // namespace errand::worker
