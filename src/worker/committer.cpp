#include "worker/committer.hpp"

#include "core/failpoint.hpp"
#include "protocol/exception.hpp"

#include <algorithm>

namespace errand::worker {

namespace {
// Entries in one transaction or round trip: large enough to amortise it, small enough to bound its latency.
constexpr std::size_t kMaxBatch = 512;

#ifdef ERRAND_FAILPOINTS
// A message that goes again: a retry, not a successor.
bool goes_again(const Envelope& envelope) {
  const Value* retries = envelope.message.headers.find("retries");
  return retries != nullptr && retries->if_integer() != nullptr && *retries->if_integer() > 0;
}
bool has_retry(std::span<const Envelope> all) { return std::any_of(all.begin(), all.end(), goes_again); }
bool has_successor(std::span<const Envelope> all) { return !std::all_of(all.begin(), all.end(), goes_again); }
bool has_dead(std::span<const Settlement> all) {
  return std::any_of(all.begin(), all.end(),
                     [](const Settlement& one) { return one.kind == Settlement::Kind::dead_letter; });
}
bool has_started(std::span<const TaskResult> all) {
  return std::any_of(all.begin(), all.end(), [](const TaskResult& one) { return one.state == state::started; });
}
#endif
}  // namespace

Committer::Committer(Broker& broker, Consumer& consumer, ResultBackend* results, Milliseconds lease)
    : broker_(broker), consumer_(consumer), results_(results), lease_(lease) {}

void Committer::add(CommitEntry entry) {
  // While a store is away tasks go on reporting: of what nobody waits for (STARTED, progress) the last per task is
  // enough, so that what is kept is bounded by what is held.
  if (retry_at_ && entry.run == 0 && entry.result && !entry.settlement) {
    const auto same = std::find_if(entries_.begin(), entries_.end(), [&](const CommitEntry& kept) {
      return kept.run == 0 && !kept.settlement && kept.result && kept.result->id == entry.result->id;
    });
    if (same != entries_.end()) {
      *same = std::move(entry);
      return;
    }
  }
  entries_.push_back(std::move(entry));
}

std::vector<std::uint64_t> Committer::flush(Now now, std::size_t then_fetch) {
  std::vector<std::uint64_t> done;
  if (entries_.empty() || (retry_at_ && *retry_at_ > now.steady)) return done;
  wall_ = now.wall;
  std::size_t finished = 0;  // entries from the front that are safe
  try {
    while (finished < entries_.size()) {
      const std::size_t end = std::min(entries_.size(), finished + kMaxBatch);
      std::vector<CommitEntry*> batch;
      for (std::size_t i = finished; i < end; ++i) {
        if (has_chords(entries_[i])) continue;
        batch.push_back(&entries_[i]);
      }
      try {
        in_order(batch, end == entries_.size() ? then_fetch : 0);
        for (std::size_t i = finished; i < end; ++i) {
          if (has_chords(entries_[i])) with_chords(entries_[i]);
        }
      } catch (const Error& error) {
        if (is_about_the_store(error)) throw;
        // One entry cannot be stored as it is. Find it, so that it does not hold up the others.
        for (std::size_t i = finished; i < end; ++i) one_by_one(entries_[i]);
      }
      for (std::size_t i = finished; i < end; ++i) {
        if (entries_[i].run != 0) done.push_back(entries_[i].run);
      }
      finished = end;
    }
    backoff_.reset();
    retry_at_.reset();
    last_error_.clear();
  } catch (const Error& error) {
    // The store is away or its answer was lost. Everything here may be repeated: results are upserts, receipts that
    // were settled are skipped, and a follow-up that arrives twice carries the same id.
    last_error_ = error.what();
    retry_at_ = now.steady + backoff_.next();
  }
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(finished));
  return done;
}

void Committer::gather(const std::vector<CommitEntry*>& batch) {
  follow_ups_.clear();
  outcomes_.clear();
  settlements_.clear();
  follow_ups_of_.clear();
  outcomes_of_.clear();
  for (CommitEntry* entry : batch) {
    const auto of = entry->settlement ? static_cast<std::uint32_t>(settlements_.size()) : Commit::kFree;
    for (const Envelope& envelope : entry->follow_ups) follow_ups_.push_back(envelope);
    if (entry->result) outcomes_.push_back(*entry->result);
    for (const TaskResult& result : entry->more_results) outcomes_.push_back(result);
    if (entry->sending_ended) outcomes_.push_back(*entry->sending_ended);
    if (entry->settlement) settlements_.push_back(*entry->settlement);
    follow_ups_of_.resize(follow_ups_.size(), of);
    outcomes_of_.resize(outcomes_.size(), of);
  }
}

void Committer::in_order(const std::vector<CommitEntry*>& batch, std::size_t then_fetch) {
  if (batch.empty()) return;
  gather(batch);
  ERRAND_FAILPOINT_IF(!outcomes_.empty(), "result.before");
  ERRAND_FAILPOINT_IF(has_dead(settlements_), "deadletter.before");
  ERRAND_FAILPOINT_IF(has_successor(follow_ups_), "chain.before_publish");
  ERRAND_FAILPOINT_IF(has_retry(follow_ups_), "retry.before_publish");
  if (!consumer_.commit(Commit{follow_ups_, outcomes_, settlements_, follow_ups_of_, outcomes_of_, then_fetch},
                        results_)) {
    fence(batch);
    gather(batch);
    publish(batch);
    ERRAND_FAILPOINT_IF(has_successor(follow_ups_), "chain.after_publish");
    ERRAND_FAILPOINT_IF(has_retry(follow_ups_), "retry.between");
    if (!outcomes_.empty() && results_ != nullptr) results_->put(outcomes_);
    ERRAND_FAILPOINT_IF(!outcomes_.empty(), "result.after");
    ERRAND_FAILPOINT_IF(!settlements_.empty(), "ack.before");
    if (!settlements_.empty()) consumer_.settle(settlements_);
  }
  ERRAND_FAILPOINT_IF(has_started(outcomes_), "run.started_row");
  ERRAND_FAILPOINT_IF(!settlements_.empty(), "ack.sent");
}

// Once: while the result store is away everything after this is tried again, and the children of a task must not be
// sent with every try.
void Committer::publish(const std::vector<CommitEntry*>& batch) {
  if (follow_ups_.empty()) return;
  broker_.publish(follow_ups_);
  for (CommitEntry* entry : batch) entry->follow_ups.clear();
}

// Step by step nothing ties an outcome to its lease. So leases are renewed first, and what belongs to one that is lost
// is dropped: its message is somebody else's, and so is what comes of it.
void Committer::fence(const std::vector<CommitEntry*>& batch) {
  if (!broker_.traits().lease) return;
  std::vector<Receipt> receipts;
  for (const CommitEntry* entry : batch) {
    const bool outcome = entry->result || !entry->follow_ups.empty() || has_chords(*entry);
    if (entry->settlement && outcome) receipts.push_back(entry->settlement->receipt);
  }
  if (receipts.empty()) return;
  consumer_.extend(receipts, lease_);
  for (Receipt& receipt : consumer_.take_lost()) {
    for (CommitEntry* entry : batch) {
      if (!entry->settlement || entry->settlement->receipt != receipt) continue;
      entry->follow_ups.clear();
      entry->result.reset();
      entry->more_results.clear();
      entry->sending_ended.reset();
      entry->chord_sizes.clear();
      entry->chord_reports.clear();
    }
    lost_.push_back(std::move(receipt));
  }
}

void Committer::one_by_one(CommitEntry& entry) {
  try {
    if (has_chords(entry)) {
      with_chords(entry);
    } else {
      in_order({&entry}, 0);
    }
  } catch (const Error& error) {
    if (is_about_the_store(error)) throw;
    last_error_ = error.what();
    refused(entry, error);
  }
}

// What it came to cannot be stored or its follow-ups cannot be sent (too large, no such queue). The task has run, so
// its end is a failure that says so, and the message is kept.
void Committer::refused(CommitEntry& entry, const Error& error) {
  entry.follow_ups.clear();
  entry.chord_sizes.clear();
  entry.chord_reports.clear();
  if (entry.result) {
    entry.result->state = std::string(state::failure);
    entry.result->result_json = protocol::ExceptionInfo{
        "RuntimeError",
        "builtins",
        {std::string("the outcome could not be stored: ") +
         error.what()}}.to_json();
    entry.result->traceback.clear();
    entry.result->children_json = "[]";
    if (entry.result->extended) {
      entry.result->extended->args_json = "null";
      entry.result->extended->kwargs_json = "null";
    }
  }
  entry.sending_ended.reset();  // an operator may put the message back
  if (entry.settlement && entry.settlement->kind != Settlement::Kind::requeue) {
    entry.settlement->kind = Settlement::Kind::dead_letter;
    entry.settlement->reason = "COMMIT_REFUSED";
    entry.settlement->detail = error.what();
  }
  in_order({&entry}, 0);
}

}  // namespace errand::worker
