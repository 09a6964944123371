#pragma once
// Committer: the one place that knows the order follow-ups, then result, then acknowledgement.
//
// A crash between two of them repeats a task; the reverse order would lose one. Where broker and result backend are
// one store the consumer does all of it in one transaction or round trip (Consumer::commit).

#include "core/backoff.hpp"
#include "worker/effects.hpp"

#include <errand/broker.hpp>
#include <errand/error.hpp>

#include <memory>
#include <utility>

namespace errand::worker {

/// Whether the entry needs answers from the store between its steps, and so goes by itself.
inline bool has_chords(const CommitEntry& entry) noexcept {
  return !entry.chord_reports.empty() || !entry.chord_sizes.empty();
}

/// Whether an error says nothing about what was to be stored, so that it stays and is tried again: the store is away,
/// full, its answer was lost, or it has taken our rights away, which somebody will give back.
inline bool is_about_the_store(const Error& error) noexcept {
  return error.retryable() || error.kind() == ErrorKind::in_doubt || error.kind() == ErrorKind::denied;
}

/// Collects entries and makes them safe in batches. Used by the worker's thread.
class Committer {
 public:
  /// `results` may be null (no result backend). All must outlive the committer.
  Committer(Broker& broker, Consumer& consumer, ResultBackend* results, Milliseconds lease = Milliseconds{60'000});

  void add(CommitEntry entry);
  bool empty() const noexcept { return entries_.empty(); }
  std::size_t size() const noexcept { return entries_.size(); }

  /// Tries to make everything collected safe. Returns the runs that are; what could not be stored stays and is
  /// tried again after retry_at(). Never throws for a store that is away; throws Error{bug} for broken promises.
  /// `then_fetch`: how many messages the caller would take next (Commit::then_fetch).
  std::vector<std::uint64_t> flush(Now now, std::size_t then_fetch = 0);

  /// Set while a store is away: when to try again. Full jitter, up to 30 s.
  std::optional<SteadyPoint> retry_at() const noexcept { return retry_at_; }
  /// Why the last try failed, for the log.
  const std::string& last_error() const noexcept { return last_error_; }
  /// As Consumer::take_lost, for what was found out here.
  std::vector<Receipt> take_lost() { return std::exchange(lost_, {}); }

 private:
  void in_order(const std::vector<CommitEntry*>& batch, std::size_t then_fetch);
  void publish(const std::vector<CommitEntry*>& batch);
  void one_by_one(CommitEntry& entry);
  void refused(CommitEntry& entry, const Error& error);
  void with_chords(CommitEntry& entry);  // chord.cpp
  void report_chord(const ChordReport& report, const Message& member);
  void gather(const std::vector<CommitEntry*>& batch);
  void fence(const std::vector<CommitEntry*>& batch);

  Broker& broker_;
  Consumer& consumer_;
  ResultBackend* results_;
  Milliseconds lease_;
  std::vector<Receipt> lost_;
  std::vector<CommitEntry> entries_;
  std::vector<Envelope> follow_ups_;  // scratch of one batch
  std::vector<TaskResult> outcomes_;
  std::vector<Settlement> settlements_;
  std::vector<std::uint32_t> follow_ups_of_, outcomes_of_;  // see Commit
  TimePoint wall_{};                                        // of the flush under way
  std::optional<SteadyPoint> retry_at_;
  std::string last_error_;
  core::Backoff backoff_{core::kReconnect};
};

}  // namespace errand::worker
