// Ledger, first half: what workers do, checked as they do it.
#include "testing/cluster.hpp"

#include "core/text.hpp"
#include "protocol/task_message.hpp"

#include <algorithm>

namespace errand::testing {

namespace {

std::string_view to_string(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::success:
      return "success";
    case Outcome::Kind::failure:
      return "failure";
    case Outcome::Kind::retry:
      return "retry";
    case Outcome::Kind::reject:
      return "reject";
    case Outcome::Kind::requeue:
      return "requeue";
    case Outcome::Kind::ignore:
      return "ignore";
    case Outcome::Kind::lost:
      return "lost";
    case Outcome::Kind::timed_out:
      return "timed out";
    case Outcome::Kind::cancelled:
      return "cancelled";
  }
  return "";
}

std::string id_of(const Message& message) {
  const Value* id = message.headers.find("id");
  const std::string* text = id == nullptr ? nullptr : id->if_text();
  return text == nullptr ? std::string() : *text;
}

std::int64_t number_of(const Message& message, std::string_view key) {
  const Value* value = message.headers.find(key);
  const std::int64_t* number = value == nullptr ? nullptr : value->if_integer();
  return number == nullptr ? 0 : *number;
}

constexpr std::size_t kEnoughDraws = 8;  // equal waits of a policy with jitter that cannot be chance

}  // namespace

Claim claim_of(const Message& message) {
  const Value* mark = message.properties.find(kDeliveryMark);
  const std::string* text = mark == nullptr ? nullptr : mark->if_text();
  if (text == nullptr) return {};
  const std::size_t slash = text->find('/');
  return {core::parse_number(text->substr(0, slash), INT64_MAX).value_or(0),
          core::parse_number(text->substr(slash + 1), INT64_MAX).value_or(0)};
}

void Ledger::broken(std::string_view invariant, std::string what) {
  cluster_.world.note("BROKEN", std::string(invariant) + ": " + what);
  if (verdict_.empty()) verdict_ = std::string(invariant) + ": " + std::move(what);
}

void Ledger::sent(const TaskId& id, Answer answer) {
  life(id).answer = answer;
  cluster_.world.count(answer == Answer::acknowledged ? "send.acknowledged"
                       : answer == Answer::refused    ? "send.refused"
                                                      : "send.in_doubt");
}

void Ledger::chord(std::string group, std::vector<TaskId> members, TaskId body) {
  body_of_.emplace(body, group);
  chords_.emplace(std::move(group), Chord{std::move(members), std::move(body)});
}

void Ledger::excuse(const TaskId& id, std::string_view why) {
  Life& one = life(id);
  one.excuses += 1;
  one.excused_by.append(one.excused_by.empty() ? "" : ", ").append(why);
}

// A commit whose answer was lost, or that failed halfway, is done again: its follow-ups arrive again with their ids.
void Ledger::publishing(Process& process, std::span<const Envelope> envelopes) {
  for (const Envelope& envelope : envelopes) {
    const TaskId id = id_of(envelope.message);
    const std::string attempt = std::to_string(number_of(envelope.message, "retries")) + " " +
                                std::to_string(number_of(envelope.message, "errand_crashes"));
    const bool first = life(id).published.insert(attempt).second;
    const auto [at, fresh] = life(id).published_by.try_emplace(process.name + " " + attempt, process.errors);
    if (!fresh && process.errors > at->second)
      excuse(id, "published again after an error");
    else if (!first && sender_excused(id, envelope.message))
      excuse(id, "sent again by a task that ran again");
  }
}

// Callbacks and the bodies of chords have their ids from their sender: whoever sends them twice sends the same.
bool Ledger::sender_excused(const TaskId& id, const Message& message) {
  const Value* parent = message.headers.find("parent_id");
  if (parent != nullptr && parent->if_text() != nullptr && life(*parent->if_text()).excuses > 0) return true;
  const auto group = body_of_.find(id);
  if (group == body_of_.end()) return false;
  const std::vector<TaskId>& members = chords_.at(group->second).members;
  return std::any_of(members.begin(), members.end(), [&](const TaskId& member) { return life(member).excuses > 0; });
}

void Ledger::dispatched(Process& process, const Execution& execution) {
  const Claim claim = claim_of(*execution.message);
  Body& body = bodies_[claim];
  body.dispatched = true;
  body.dispatched_turn = process.turns;
  body.dispatched_at = cluster_.world.now();
  body.latest = std::max(body.latest, cluster_.server_time(process));
  if (execution.finish_failure) return;
  put_back_.erase(claim.first);
  check_dispatch(process, execution, claim, life(execution.id));
  const auto revoked = revoked_at_.find({process.name, execution.id});
  // Inputs are taken at the beginning of a turn, so whatever a later turn starts was decided with the revoke known.
  if (revoked != revoked_at_.end() && process.turns > revoked->second + 1) {
    broken("I21", execution.id + " was handed to the pool of " + process.name + " after it was told of the revoke");
  }
}

void Ledger::began(Process& process, const Execution& execution) {
  const Claim claim = claim_of(*execution.message);
  Body& body = bodies_[claim];
  Life& one = life(execution.id);
  cluster_.world.note(process.name, "began " + execution.task + " " + execution.id + " delivery " +
                                        std::to_string(claim.first) + "/" + std::to_string(claim.second) + " retries " +
                                        std::to_string(execution.retries));
  if (body.began) broken("I5", execution.id + " began twice from one delivery");
  if (one.early && cluster_.store.items().contains(claim.first))
    broken("I5", execution.id + " began before its early acknowledgement was safe");
  if (one.early && over_.contains(claim))
    broken("I5", execution.id + " began although its early acknowledgement had come too late");
  body.began = true;
  body.ended = false;
  body.retries = execution.retries;
  body.worker = process.name;
  body.owner = process.owner;
  body.run = runs_.size();
  runs_.push_back({.id = execution.id,
                   .task = execution.task,
                   .worker = process.name,
                   .retries = execution.retries,
                   .began = cluster_.world.since_start()});
  one.executions += 1;
  one.task = execution.task;
  if (one.executions > 1 + one.excuses + one.again) {
    broken("I5", execution.id + " ran " + std::to_string(one.executions) + " times; explained are " +
                     std::to_string(1 + one.excuses + one.again) + " (" + one.excused_by + ")");
  }
  // Of two messages with one id each has waits of its own.
  if (const auto due = one.not_before.find(execution.retries);
      one.excuses == 0 && due != one.not_before.end() && due->second > cluster_.world.now() + Milliseconds{1}) {
    broken("I11", execution.id + " began its retry before the wait that its policy drew");
  }
  if (body.knew_success && body.errors_at_claim == process.errors) {
    broken("F016", execution.id + " had succeeded, and its redelivery ran again");
  }
  check_times(process, execution, one, body);
  if (const auto group = body_of_.find(execution.id); group != body_of_.end()) {
    for (const TaskId& member : chords_.at(group->second).members) {
      const auto record = cluster_.results.get(member);
      if (!record || record->state != state::success) {
        broken("I8", "the body " + execution.id + " of a chord began before its member " + member + " had succeeded");
      }
    }
  }
}

void Ledger::check_times(Process& process, const Execution& execution, const Life&, Body& body) {
  const protocol::TaskMessage task = protocol::decode_task(*execution.message);
  const TimePoint wall = cluster_.world.wall();
  const TimePoint mine = process.host->now();
  if (task.eta && *task.eta > std::max(body.latest, cluster_.server_time(process)))
    broken("I10", execution.id + " began before its eta by the clock of the store");
  const TimePoint then =
      std::min(wall, mine) - std::chrono::duration_cast<Microseconds>(cluster_.world.now() - body.dispatched_at);
  if (task.expires && *task.expires < then) broken("F123", execution.id + " was started after it had expired");
  body.time_limit = task.time_limit;
  if (const TaskDefinition* definition = cluster_.registry.find(execution.task)) {
    if (!body.time_limit) body.time_limit = definition->options.time_limit;
    const auto most = definition->options.retry.max_retries;
    if (most && *most > 0 && definition->options.retry_on.empty() && execution.retries > *most) {
      broken("I11", execution.id + " is retried " + std::to_string(execution.retries) + " times, allowed are " +
                        std::to_string(*most));
    }
  }
}

void Ledger::ended(Process& process, const Execution& execution, const Outcome& outcome, std::string_view how) {
  Body& body = bodies_[claim_of(*execution.message)];
  Life& one = life(execution.id);
  const std::string kind = std::string(to_string(outcome.kind));
  cluster_.world.note(process.name, "ended " + execution.id + " " + kind + (how.empty() ? "" : " " + std::string(how)));
  cluster_.world.count("input.finished." + kind);
  if (execution.finish_failure) {
    for (const Envelope& envelope : outcome.follow_ups) body.follow_ups.push_back(id_of(envelope.message));
    return;
  }
  body.ended = true;
  body.how = kind;
  body.kind = outcome.kind;
  runs_[body.run].ended = cluster_.world.since_start();
  runs_[body.run].outcome = kind;
  for (const Envelope& envelope : outcome.follow_ups) body.follow_ups.push_back(id_of(envelope.message));
  const Nanoseconds ran = runs_[body.run].ended - runs_[body.run].began;
  if (body.time_limit && ran > *body.time_limit + Milliseconds{100}) {
    broken("F031", execution.id + " ran for " + std::to_string(ran / Milliseconds{1}) + " ms, its limit are " +
                       std::to_string(body.time_limit->count()));
  }
  if (how == kCrashed) one.crashes += 1;
  switch (outcome.kind) {
    case Outcome::Kind::success:
      one.ran_well = true;
      break;
    case Outcome::Kind::retry:
      // By true time, as long as every clock tells it.
      if ((cluster_.options.faults & (bit(Fault::clock_step) | bit(Fault::clock_drift))) == 0 && outcome.wait &&
          !outcome.eta) {
        one.not_before.try_emplace(execution.retries + 1, cluster_.world.now() + *outcome.wait);
      }
      check_retry(process, execution, outcome);
      [[fallthrough]];
    case Outcome::Kind::requeue:
    case Outcome::Kind::lost:
    case Outcome::Kind::cancelled:
      one.again += 1;
      break;
    default:
      break;
  }
}

void Ledger::check_retry(const Process&, const Execution& execution, const Outcome& outcome) {
  const TaskDefinition* definition = cluster_.registry.find(execution.task);
  if (definition == nullptr || !definition->options.retry_on.empty() || !outcome.wait) return;
  const RetryPolicy& policy = definition->options.retry;
  if (policy.max_retries == 0u) return;
  const Milliseconds longest = policy.wait(execution.retries, 1.0);
  const Milliseconds shortest = policy.jitter ? Milliseconds{0} : longest;
  if (*outcome.wait > longest || *outcome.wait < shortest) {
    broken("I11", execution.id + " waits " + std::to_string(outcome.wait->count()) +
                      " ms for its retry; its policy says " + policy.describe());
  }
  if (!policy.jitter || longest < Milliseconds{100}) return;
  std::vector<Milliseconds>& drawn = jittered_[{execution.task, execution.retries}];
  drawn.push_back(*outcome.wait);
  const bool same = std::all_of(drawn.begin(), drawn.end(), [&](Milliseconds wait) { return wait == drawn.front(); });
  if (drawn.size() >= kEnoughDraws && same) broken("I11", "the waits of " + execution.task + " have no jitter");
}

void Ledger::killed(Process& process, const Execution& execution, std::string_view how) {
  Body& body = bodies_[claim_of(*execution.message)];
  cluster_.world.note(process.name, "killed " + execution.id + ": " + std::string(how));
  if (execution.finish_failure || !body.began) return;
  runs_[body.run].ended = cluster_.world.since_start();
  runs_[body.run].outcome = "killed";
}

void Ledger::foreign_began(Process& process, const Delivery& delivery) {
  Life& one = life(id_of(delivery.message));
  Body& body = bodies_[claim_of(delivery.message)];
  body.began = body.foreign = true;
  body.owner = process.owner;
  one.executions += 1;
  cluster_.world.note(process.name, "began " + id_of(delivery.message));
  if (one.executions > 1 + one.excuses + one.again)
    broken("I5", id_of(delivery.message) + " was given to a Python worker as well");
}

void Ledger::revoked(const Process& process, const TaskId& id) {
  life(id).revoked += 1;
  revoked_at_.try_emplace({process.name, id}, process.turns);
}

void Ledger::worker_gone(const Process& process, bool warm, SteadyPoint asked) {
  const Milliseconds grace = cluster_.options.worker.grace;
  const SteadyPoint now = cluster_.world.now();
  // Whatever the store does; but a process that stood still cannot stop.
  if (process.host->paused_until() < asked &&
      now > asked + grace + std::chrono::seconds(5) + std::chrono::seconds(10)) {
    broken("I20", process.name + " needed " + std::to_string((now - asked) / std::chrono::seconds(1)) + " s to stop");
  }
  if (process.trouble_at >= asked || cluster_.away()) return;
  for (const auto& [number, item] : cluster_.store.items()) {
    if (item.state == Item::State::leased && item.owner == process.owner && !item.foreign) {
      broken("I20", process.name + (warm ? " stopped warmly" : " stopped") + " and still holds " + item.task_id);
    }
  }
}

}  // namespace errand::testing
