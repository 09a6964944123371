// Engine, first half: what becomes of a message before its task runs.
#include "protocol/exception.hpp"
#include "worker/engine.hpp"

namespace errand::worker {

void Engine::admit(Arrival arrival, Now now, std::vector<Effect>& out) {
  const std::uint64_t run = next_run_++;
  Held& held = held_.emplace(run, Held{}).first->second;
  held.arrival = std::move(arrival);
  held.since = now.steady;
  held.ours_until = sure_until(now.steady);
  const Arrival& got = held.arrival;

  if (!got.defect_code.empty()) {
    std::optional<TaskResult> failure;
    if (!got.id.empty() && options_.has_results) {
      failure = record(held, state::failure, now);
      failure->result_json = protocol::ExceptionInfo{"DecodeError", "kombu.exceptions", {got.defect_detail}}.to_json();
    }
    refuse(run, held, got.defect_code, got.defect_detail, std::move(failure), now, out);
    return;
  }
  held.task = registry_.find(got.task);
  if (held.task == nullptr) {
    std::optional<TaskResult> failure;
    if (options_.has_results) {
      failure = record(held, state::failure, now);
      failure->result_json = protocol::not_registered(got.task).to_json();
    }
    refuse(run, held, "UNKNOWN_TASK", "no task named '" + got.task + "' is registered in this worker",
           std::move(failure), now, out);
    return;
  }
  if (ended_before(got)) {
    if (got.stored_state == state::failure && got.crashes + 1 >= options_.max_crashes) {
      refuse(run, held, "CRASH_LIMIT", "its process died too often, and its worker before it could say so",
             std::nullopt, now, out);
      return;
    }
    emit(Emit::What::repeated, held, got.stored_state, out);
    CommitEntry entry{.settlement = Settlement{.receipt = got.receipt}};
    // Between the result and the acknowledgement a chord is told, which counts a member once.
    if (auto report = state::ready(got.stored_state) ? chord_report_again(got) : std::nullopt) {
      entry.message = got.message;
      entry.chord_reports.push_back(std::move(*report));
    }
    commit(run, held, std::move(entry), now, out);
    return;
  }
  if (got.sending_ended) {
    // The broker's own second delivery is acknowledged above, by what its task came to; without a result, here.
    if (!got.redelivered && got.deliveries <= 1) {
      refuse(run, held, "SIGNATURE_REPLAYED", "a copy of a message that has ended", std::nullopt, now, out);
      return;
    }
    emit(Emit::What::repeated, held, "acknowledged", out);
    commit(run, held, CommitEntry{.settlement = Settlement{.receipt = got.receipt}}, now, out);
    return;
  }
  if (recent_.conflicts(got)) {
    refuse(run, held, "ID_CONFLICT", "another message with this id and another body was here first", std::nullopt, now,
           out);
    return;
  }
  if (got.deliveries > options_.max_deliveries) {
    refuse(run, held, "DELIVERY_LIMIT",
           "delivered " + std::to_string(got.deliveries) +
               " times, limit max_deliveries = " + std::to_string(options_.max_deliveries),
           std::nullopt, now, out);
    return;
  }
  emit(Emit::What::received, held, {}, out);
  if (revoked_.contains(got.id, now.steady)) {
    revoked_result(run, held, "revoked", now, out);
    return;
  }
  if (got.expires && *got.expires <= now.wall) {
    revoked_result(run, held, "expired", now, out);
    return;
  }
  if (got.eta && *got.eta > now.wall) {
    // Never in a worker's memory: the broker keeps it, whoever sent it and however far away it is.
    commit(run, held,
           CommitEntry{.settlement =
                           Settlement{.receipt = got.receipt, .kind = Settlement::Kind::park, .not_before = *got.eta}},
           now, out);
    return;
  }
  if (stop_) {
    give_back(run, held, now, out);
    return;
  }
  waiting_.push_back(run);
}

// Whether this very attempt has ended already: its outcome is stored, what follows was sent before that, and only the
// acknowledgement is missing, because a worker died in between or a sender sent a retry twice.
bool Engine::ended_before(const Arrival& got) const {
  if (got.stored_state.empty()) return false;
  if (got.stored_state == state::success) return true;
  if (!state::ready(got.stored_state) && got.stored_state != state::retry) return false;
  // An operator has put it back from the dead letters since: that is a new attempt.
  if (got.stored_token != 0 && delivery_token(got.stored_token) < got.life_token) return false;
  // A store that keeps no extended fields still keeps the token, and the attempt with it.
  return got.stored_retries >= got.retries || attempt_of(got.stored_token) >= std::uint64_t{got.retries} + got.crashes;
}

// The last look before the pool gets it: time may have passed since it came. True: it will not run now.
bool Engine::refuse_before_start(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out) {
  const Arrival& got = held.arrival;
  if (revoked_.contains(got.id, now.steady)) {
    revoked_result(run, held, "revoked", now, out);
    return true;
  }
  if (got.expires && *got.expires <= now.wall) {
    revoked_result(run, held, "expired", now, out);
    return true;
  }
  if (held.settled) return false;  // acknowledged early: no broker has it any more that could keep it for later
  if (auto gate = rates_.find(got.task); gate != rates_.end()) {
    if (auto when = gate->second.take(now)) {
      emit(Emit::What::parked, held, "rate limit", out);
      commit(run, held,
             CommitEntry{.settlement =
                             Settlement{.receipt = got.receipt, .kind = Settlement::Kind::park, .not_before = *when}},
             now, out);
      return true;
    }
  }
  return false;
}

void Engine::start(std::uint64_t run, Held& held, Now now, std::vector<Effect>& out) {
  held.phase = Phase::dispatched;
  held.since = now.steady;
  Execution execution;
  execution.run = run;
  execution.id = held.arrival.id;
  execution.task = held.arrival.task;
  execution.message = held.arrival.message;
  execution.route = held.arrival.route;
  execution.queue = held.arrival.receipt.queue;
  execution.redelivered = held.arrival.redelivered;
  execution.retries = held.arrival.retries;
  // The message's own limits win, then those set by remote control, the task's, the worker's.
  const TaskOptions& task = held.task->options;
  auto set = limits_.find(held.arrival.task);
  const auto soft_default = set != limits_.end()   ? set->second.first
                            : task.soft_time_limit ? task.soft_time_limit
                                                   : options_.soft_time_limit;
  const auto hard_default = set != limits_.end() ? set->second.second
                            : task.time_limit    ? task.time_limit
                                                 : options_.time_limit;
  execution.soft_time_limit = held.arrival.soft_time_limit ? held.arrival.soft_time_limit : soft_default;
  execution.time_limit = held.arrival.time_limit ? held.arrival.time_limit : hard_default;
  execution.limits = task.limits.or_else(options_.limits);
  if (held.finishing) {
    execution.finish_failure = std::make_shared<const Failure>(Failure{
        .type = held.ended->error_type, .message = held.ended->error_message, .module = held.ended->error_module});
  }
  out.push_back(Run{std::move(execution)});
}

}  // namespace errand::worker
