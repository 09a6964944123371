// Engine, second half: what becomes of a message once its attempt has ended.
#include "protocol/exception.hpp"
#include "protocol/task_message.hpp"
#include "worker/engine.hpp"

#include <errand/signing.hpp>

#include <algorithm>
#include <charconv>

namespace errand::worker {

namespace {
// A task that rejects itself with requeue, or whose process died, waits a moment before the next delivery, so
// that a message nobody can run does not spin (F063: fewer than ten redeliveries a second).
constexpr Milliseconds kRequeueDelay{200};
constexpr Milliseconds kCrashDelay{1'000};
constexpr std::string_view kCrashReasons = "errand_crash_reasons";

// Attempts grow with retries and crashes, deliveries with the store's token: the newer writer has the larger one.
// Tokens may be times in microseconds, which fit into these bits until 2112; more attempts than fit count as the most,
// and stores keep signed numbers.
constexpr unsigned kDeliveryBits = 52;
constexpr std::uint64_t kDeliveryMask = (std::uint64_t{1} << kDeliveryBits) - 1;
constexpr std::uint64_t kMostAttempts = (std::uint64_t{1} << (63 - kDeliveryBits)) - 1;

std::uint64_t result_token(const Arrival& arrival) {
  const std::uint64_t attempt =
      std::min<std::uint64_t>(std::uint64_t{arrival.retries} + arrival.crashes, kMostAttempts);
  return (attempt << kDeliveryBits) | (arrival.receipt.token & kDeliveryMask);
}

// What a message asked for, and not its task, is worth as much as the message's own signature.
void say_who_asked(const Arrival& arrival, std::vector<Envelope>& follow_ups) {
  for (Envelope& envelope : follow_ups) {
    if (envelope.asked_by) *envelope.asked_by = arrival.signed_by;
  }
}

// What became of the earlier attempts, and of this one; the newest of them.
Array crash_reasons(const Message& message, const std::string& last) {
  constexpr std::size_t kMost = 5, kMostBytes = 480;
  Array reasons;
  const Value* before = message.headers.find(kCrashReasons);
  if (const Array* list = before == nullptr ? nullptr : before->if_array()) {
    for (const Value& one : *list) {
      if (const std::string* text = one.if_text(); text != nullptr && text->size() <= kMostBytes)
        reasons.emplace_back(*text);
    }
  }
  reasons.emplace_back(last.substr(0, kMostBytes));
  if (reasons.size() > kMost) reasons.erase(reasons.begin(), reasons.end() - kMost);
  return reasons;
}

std::string seconds_text(Milliseconds wait) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<double>(wait.count()) / 1000.0).ptr;
  return std::string(text, end) + "s";
}
}  // namespace

std::uint64_t delivery_token(std::uint64_t result_token) noexcept { return result_token & kDeliveryMask; }
std::uint64_t attempt_of(std::uint64_t result_token) noexcept { return result_token >> kDeliveryBits; }

TaskResult Engine::record(const Held& held, std::string_view state, Now now) const {
  const Arrival& got = held.arrival;
  TaskResult result;
  result.id = got.id;
  result.state = std::string(state);
  if (state::ready(state)) result.done_at = now.wall;
  result.group_id = got.group_id;
  result.parent_id = got.parent_id;
  result.token = result_token(got);
  result.retries = got.retries;
  if (options_.result_extended) {
    result.extended = TaskResult::Extended{.name = got.task, .worker = options_.node_name, .queue = got.receipt.queue};
  }
  return result;
}

// Stored with the acknowledgement: wherever a copy of a signed message turns up from now on, it is known as one. What
// ends in the dead letters is not over, for an operator may put it back.
void Engine::end_sending(const Held& held, CommitEntry& entry, Now now) const {
  if (held.arrival.sending_id.empty() || !options_.has_results) return;
  if (!entry.settlement || entry.settlement->kind != Settlement::Kind::ack) return;
  TaskResult ended;
  ended.id = held.arrival.sending_id;
  ended.state = std::string(state::success);
  ended.done_at = now.wall;
  entry.sending_ended = std::move(ended);
}

bool Engine::stores(const Held& held, bool error) const noexcept {
  if (!options_.has_results) return false;
  // Either may say so. Celery's senders write `false` when nobody asked, so false is no wish for a result.
  const bool ignored =
      held.arrival.ignore_result.value_or(false) || (held.task != nullptr && held.task->options.ignore_result);
  return !ignored || (error && options_.store_errors_even_if_ignored);
}

void Engine::commit(std::uint64_t run, Held& held, CommitEntry entry, Now now, std::vector<Effect>& out) {
  entry.run = run;
  if (held.settled) entry.settlement.reset();
  end_sending(held, entry, now);
  held.settled = true;
  held.phase = Phase::committing;
  held.since = now.steady;
  held.escalate_at.reset();
  out.push_back(std::move(entry));
}

void Engine::give_back(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out) {
  emit(Emit::What::returned, held, {}, out);
  commit(run, held,
         CommitEntry{.settlement = Settlement{.receipt = held.arrival.receipt, .kind = Settlement::Kind::requeue}}, now,
         out);
}

void Engine::refuse(std::uint64_t run, Held& held, std::string code, std::string detail,
                    std::optional<TaskResult> result, Now now, std::vector<Effect>& out) {
  emit(Emit::What::dead_lettered, held, code + ": " + detail, out);
  commit(run, held,
         CommitEntry{.result = std::move(result),
                     .settlement = Settlement{.receipt = held.arrival.receipt,
                                              .kind = Settlement::Kind::dead_letter,
                                              .reason = std::move(code),
                                              .detail = std::move(detail)}},
         now, out);
}

void Engine::revoked_result(std::uint64_t run, Held& held, std::string why, Now now, std::vector<Effect>& out,
                            std::string how) {
  emit(Emit::What::revoked, held, how.empty() ? why : why + ": " + how, out);
  revoked_.add(held.arrival.id, now.steady);
  CommitEntry entry{.settlement = Settlement{.receipt = held.arrival.receipt}};
  if (stores(held, true)) {
    entry.result = record(held, state::revoked, now);
    entry.result->result_json = protocol::ExceptionInfo{"TaskRevokedError", "celery.exceptions", {why}}.to_json();
    entry.result->traceback = std::move(how);
  }
  commit(run, held, std::move(entry), now, out);
}

void Engine::finish(std::uint64_t run, Held& held, Outcome& outcome, Now now, std::vector<Effect>& out) {
  using Kind = Outcome::Kind;
  if (held.finishing) {
    // The hooks and errbacks of an attempt that ended outside the task have run (or their process died too, and
    // then there are none): what the attempt came to was decided before.
    Outcome ended = std::move(*held.ended);
    ended.follow_ups = std::move(outcome.follow_ups);
    ended.chord_json = std::move(outcome.chord_json);
    ended.chord_sizes = std::move(outcome.chord_sizes);
    ended.never_run = std::move(outcome.never_run);
    ended.args_json = std::move(outcome.args_json);
    ended.kwargs_json = std::move(outcome.kwargs_json);
    ended.kind = Kind::failure;
    held.finishing = false;
    finish(run, held, ended, now, out);
    return;
  }
  // A hard limit that passed is an end of its own: whoever has it next would only pass it again.
  if (held.give_back && !held.settled && (outcome.kind == Kind::lost || outcome.kind == Kind::cancelled)) {
    give_back(run, held, now, out);
    return;
  }
  if (!held.revoked.empty() && outcome.kind != Kind::success) {
    revoked_result(run, held, held.revoked, now, out, stopped_how(held, outcome, now));
    return;
  }
  CommitEntry entry{.settlement = Settlement{.receipt = held.arrival.receipt}};
  const auto fill = [&](std::string_view state, bool error) {
    entry.follow_ups = std::move(outcome.follow_ups);
    say_who_asked(held.arrival, entry.follow_ups);
    entry.chord_sizes = std::move(outcome.chord_sizes);
    if (!outcome.chord_json.empty() && !held.arrival.group_id.empty()) {
      entry.message = held.arrival.message;
      entry.chord_reports.push_back(
          {held.arrival.group_id,
           {held.arrival.id, std::string(state), outcome.result_json, held.arrival.group_index},
           outcome.chord_json,
           held.arrival.signed_by});
    }
    if (error) never_run(held, outcome, entry, now);
    if (!stores(held, error)) return;
    entry.result = record(held, state, now);
    entry.result->result_json = std::move(outcome.result_json);
    entry.result->traceback = std::move(outcome.traceback);
    entry.result->children_json = std::move(outcome.children_json);
    if (entry.result->extended && !outcome.args_json.empty()) {
      entry.result->extended->args_json = std::move(outcome.args_json);
      entry.result->extended->kwargs_json = std::move(outcome.kwargs_json);
    }
  };

  switch (outcome.kind) {
    case Kind::success:
      emit(Emit::What::succeeded, held, {}, out, outcome.duration);
      fill(state::success, false);
      break;
    case Kind::failure:
      if (outcome.defect_code.empty()) {
        emit(Emit::What::failed, held, outcome.error_text, out, outcome.duration);
      } else {
        emit(Emit::What::dead_lettered, held, outcome.defect_code + ": " + outcome.defect_detail, out);
        entry.settlement->kind = Settlement::Kind::dead_letter;
        entry.settlement->reason = std::move(outcome.defect_code);
        entry.settlement->detail = std::move(outcome.defect_detail);
      }
      fill(state::failure, true);
      break;
    case Kind::retry:
      retry(run, held, outcome, now, out);
      return;
    case Kind::reject:
      refuse(run, held, "REJECTED", outcome.error_text, std::nullopt, now, out);
      return;
    case Kind::requeue:
      emit(Emit::What::rejected, held, outcome.error_text, out, outcome.duration);
      entry.settlement->kind = Settlement::Kind::park;
      entry.settlement->not_before = now.wall + kRequeueDelay;
      entry.settlement->begun = true;
      break;
    case Kind::ignore:
      break;
    case Kind::lost:
      crashed(run, held, outcome, now, out);
      return;
    case Kind::timed_out: {
      emit(Emit::What::lost, held, outcome.evidence.empty() ? outcome.error_text : outcome.evidence, out,
           outcome.duration);
      const double limit = std::chrono::duration<double>(outcome.limit.value_or(Milliseconds{0})).count();
      finish_outside(run, held, outcome, protocol::time_limit_exceeded(limit), now, out);
      return;
    }
    case Kind::cancelled:
      // Asked to stop by the worker's own stop: it did not fail, it runs again elsewhere.
      if (!held.settled) {
        interrupted_ = true;
        give_back(run, held, now, out);
        return;
      }
      emit(Emit::What::failed, held, outcome.error_text, out, outcome.duration);
      fill(state::failure, true);
      break;
  }
  if (held.quarantine) {
    entry.settlement->kind = Settlement::Kind::dead_letter;
    entry.settlement->reason = "CRASH_LIMIT";
    entry.settlement->detail = "its process died " + std::to_string(held.arrival.crashes + 1) +
                               " times, limit max_crashes = " + std::to_string(options_.max_crashes);
    std::size_t number = 0;
    for (const Value& reason :
         crash_reasons(*held.arrival.message, outcome.evidence.empty() ? outcome.error_text : outcome.evidence)) {
      entry.settlement->detail += "; " + std::to_string(++number) + ". " + reason.as_text();
    }
  }
  commit(run, held, std::move(entry), now, out);
}

// The steps after a failed one fail with it: whoever waits for the last of a chain is told, and so is the chord that
// a step was a member of (celery-wire section 6.3).
void Engine::never_run(const Held& held, const Outcome& outcome, CommitEntry& entry, Now now) const {
  for (const Outcome::NeverRun& step : outcome.never_run) {
    if (options_.has_results) {
      TaskResult result;
      result.id = step.id;
      result.state = std::string(state::failure);
      result.result_json = outcome.result_json;
      result.traceback = outcome.traceback;
      result.done_at = now.wall;
      result.group_id = step.group;
      entry.more_results.push_back(std::move(result));
    }
    if (!step.group.empty() && !step.chord_json.empty()) {
      entry.message = held.arrival.message;
      entry.chord_reports.push_back({step.group,
                                     {step.id, std::string(state::failure), outcome.result_json, step.index},
                                     step.chord_json,
                                     held.arrival.signed_by});
    }
  }
}

// A hard limit or a dead process ends an attempt outside its task. Its failure hooks, errbacks and chord still
// want the decoded arguments, so the pool runs them in a fresh process, never in the supervisor.
void Engine::finish_outside(std::uint64_t run, Held& held, Outcome& outcome, const protocol::ExceptionInfo& error,
                            Now now, std::vector<Effect>& out) {
  outcome.result_json = error.to_json();
  outcome.error_text = error.text();
  outcome.error_type = error.type;
  outcome.error_message = error.text().substr(std::min(error.text().size(), error.type.size() + 2));
  outcome.error_module = error.module;
  if (!outcome.traceback.empty()) outcome.traceback += outcome.error_text + "\n";
  held.ended = std::make_shared<Outcome>(std::move(outcome));
  held.finishing = true;
  held.begun = true;
  start(run, held, now, out);
}

void Engine::retry(std::uint64_t run, Held& held, Outcome& outcome, Now now, std::vector<Effect>& out) {
  const TimePoint due = outcome.eta ? *outcome.eta : now.wall + outcome.wait.value_or(Milliseconds{0});
  CommitEntry entry{.settlement = Settlement{.receipt = held.arrival.receipt}};
  entry.follow_ups = std::move(outcome.follow_ups);
  entry.chord_sizes = std::move(outcome.chord_sizes);
  Envelope again;
  again.message =
      protocol::retry_of(*held.arrival.message, held.arrival.retries + 1, due, now.wall, outcome.retry_until);
  again.route = protocol::retry_route(held.arrival.route, outcome.retry_queue);
  again.priority = held.arrival.priority;
  if (due > now.wall) again.not_before = due;
  again.asked_by.emplace();
  entry.follow_ups.push_back(std::move(again));
  say_who_asked(held.arrival, entry.follow_ups);
  if (stores(held, false)) {
    entry.result = record(held, state::retry, now);
    entry.result->result_json = std::move(outcome.result_json);
    entry.result->traceback = std::move(outcome.traceback);
    entry.result->children_json = std::move(outcome.children_json);
  }
  const auto wait = std::max(Milliseconds{0}, std::chrono::ceil<Milliseconds>(due - now.wall));
  emit(Emit::What::retried, held, "in " + seconds_text(wait) + ": " + outcome.error_text, out, outcome.duration);
  commit(run, held, std::move(entry), now, out);
}

// The process died under it. The message runs again, a moment later and counted, until it has killed too many.
void Engine::crashed(std::uint64_t run, Held& held, Outcome& outcome, Now now, std::vector<Effect>& out) {
  const std::uint32_t crashes = held.arrival.crashes + 1;
  emit(Emit::What::lost, held, outcome.evidence.empty() ? outcome.error_text : outcome.evidence, out, outcome.duration);
  if (!outcome.exceeded.empty()) {
    // It would pass its limit again: this is its end, as with a time limit.
    finish_outside(run, held, outcome, protocol::resource_limit_exceeded(outcome.exceeded), now, out);
    return;
  }
  const protocol::ExceptionInfo error = protocol::worker_lost(outcome.exit_signal, outcome.exit_status);
  if (held.settled) {
    finish_outside(run, held, outcome, error, now, out);
    return;
  }
  if (crashes >= options_.max_crashes) {
    held.quarantine = true;
    finish_outside(run, held, outcome, error, now, out);
    return;
  }
  CommitEntry entry{.settlement = Settlement{.receipt = held.arrival.receipt}};
  Envelope again;
  again.message = *held.arrival.message;
  again.message.headers.erase(kSignatureHeader);  // as in retry_of
  again.message.headers.set("errand_crashes", Value(static_cast<long long>(crashes)));
  again.message.headers.set(
      std::string(kCrashReasons),
      Value(crash_reasons(*held.arrival.message, outcome.evidence.empty() ? outcome.error_text : outcome.evidence)));
  again.route = held.arrival.route;
  again.priority = held.arrival.priority;
  again.not_before = now.wall + kCrashDelay;
  again.asked_by = held.arrival.signed_by;
  entry.follow_ups.push_back(std::move(again));
  commit(run, held, std::move(entry), now, out);
}

}  // namespace errand::worker
