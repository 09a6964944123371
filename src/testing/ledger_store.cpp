// Ledger, second half: what the store sees, and the judgement at the end.
#include "testing/cluster.hpp"

#include "testing/node.hpp"

#include <algorithm>

namespace errand::testing {

namespace {
std::int64_t number_of(const Message& message, std::string_view key) {
  const Value* value = message.headers.find(key);
  const std::int64_t* number = value == nullptr ? nullptr : value->if_integer();
  return number == nullptr ? 0 : *number;
}
std::string name_of(const Item& item) { return item.task_id + " (message " + std::to_string(item.number) + ")"; }
}  // namespace

void Ledger::arrived(const Item& item) {
  Life& one = life(item.task_id);
  one.arrivals += 1;
  one.highest_retry = std::max(one.highest_retry, static_cast<std::uint32_t>(number_of(item.message, "retries")));
  one.highest_crash =
      std::max(one.highest_crash, static_cast<std::uint32_t>(number_of(item.message, "errand_crashes")));
  if (one.highest_crash >= cluster_.options.worker.max_crashes) {
    broken("F027",
           name_of(item) + " has killed its process " + std::to_string(one.highest_crash) + " times and comes again");
  }
  if (one.highest_crash > one.crashes) {
    broken("F023", name_of(item) + " counts " + std::to_string(one.highest_crash) + " crashes and had " +
                       std::to_string(one.crashes) + ": a stop or a revoke is none");
  }
  if (one.body.empty()) one.body = item.message.body;
  if (const Value* task = item.message.headers.find("task"); task != nullptr && task->if_text() != nullptr)
    one.task = *task->if_text();
  if (const Value* ignore = item.message.headers.find("ignore_result");
      ignore != nullptr && ignore->if_bool() != nullptr) {
    one.ignored = *ignore->if_bool();
  }
  if (const TaskDefinition* definition = cluster_.registry.find(one.task)) {
    one.early = !definition->options.acks_late;
    one.ignored = one.ignored || definition->options.ignore_result;
  }
  cluster_.world.note("store", "took " + name_of(item) + (item.state == Item::State::parked ? " parked" : ""));
}

void Ledger::claimed(const Item& item) {
  cluster_.world.note("store", "gave " + name_of(item) + " token " + std::to_string(item.token) + " to " + item.owner);
  Body& body = bodies_[{item.number, item.token}];
  body.owner = item.owner;
  body.foreign = item.foreign;
  body.task_id = item.task_id;
  latest_[{item.owner, item.task_id}] = {item.number, item.token};
  const auto record = cluster_.results.get(item.task_id);
  body.knew_success = item.deliveries > 1 && record && record->state == state::success;
  const Process* process = process_of(item.owner);
  if (process == nullptr) return;
  body.errors_at_claim = process->errors;
  body.latest = cluster_.server_time(*process);
  check_held(*process, item);
  check_pace(item);
}

const Process* Ledger::process_of(std::string_view owner) const {
  for (const auto& node : cluster_.nodes) {
    if (node->process() != nullptr && node->process()->owner == owner) return node->process();
  }
  return nullptr;
}

void Ledger::returned(const Item& item, Return why) {
  cluster_.world.note("store", "has " + name_of(item) + " again: " + std::string(to_string(why)));
  cluster_.world.count("return." + std::string(to_string(why)));
  const Claim claim{item.number, item.token};
  over_.try_emplace(claim, cluster_.world.now());
  const Body& body = bodies_[claim];
  if (why == Return::requeued) return;
  // Who lives and has not been told may run it although it is somebody else's again.
  const bool may_run = process_of(item.owner) != nullptr && why != Return::consumer_closed;
  if (body.dispatched || body.foreign || may_run) excuse(item.task_id, to_string(why));
  if (why != Return::lease_ended && why != Return::owner_dead) return;
  // Whoever lives, runs and reaches the store keeps what it holds.
  for (const auto& node : cluster_.nodes) {
    const Process* process = node->process();
    if (process == nullptr || !process->alive || process->owner != item.owner) continue;
    const Nanoseconds calm = cluster_.world.now() - std::max(process->trouble_at, process->host->paused_until());
    // After an error it may have waited as long as core::kReconnect says before it asked again.
    const Milliseconds waits{process->errors == 0 ? 0 : 40'000};
    if (calm > 2 * cluster_.options.worker.lease + waits) {
      broken("I12", process->name + " is well and lost " + name_of(item) + ": " + std::string(to_string(why)));
    }
  }
}

void Ledger::stale(const Receipt& receipt, std::string_view owner) {
  cluster_.world.count("effect.stale");
  cluster_.world.note("store", "refused " + std::string(owner) + " what it held of message " + receipt.id);
}

// A new attempt, and a new life of the message.
void Ledger::put_back(const Item& item) {
  Life& one = life(item.task_id);
  one.again += 1;
  one.put_back += 1;
  put_back_[item.number] = one.excuses;
  cluster_.world.note("store", "was given back " + name_of(item) + " by an operator");
}

void Ledger::removed(const Item& item) { cluster_.world.note("store", "dropped " + name_of(item)); }

bool Ledger::may_store_nothing(const Life& one, bool error) const {
  return one.ignored && !(error && cluster_.options.worker.store_errors_even_if_ignored);
}

void Ledger::settled(const Item& item, const Settlement& settlement) {
  Life& one = life(item.task_id);
  const Body& body = bodies_[{item.number, item.token}];
  switch (settlement.kind) {
    case Settlement::Kind::ack:
      cluster_.world.count("effect.ack");
      cluster_.world.note("store", "acknowledged " + name_of(item));
      if (!body.foreign) check_acknowledged(item, body, one);
      break;
    case Settlement::Kind::requeue:
      cluster_.world.count("effect.requeue");
      break;
    case Settlement::Kind::park:
      cluster_.world.count("effect.park");
      cluster_.world.note("store", "parked " + name_of(item));
      break;
    case Settlement::Kind::dead_letter:
      cluster_.world.count("effect.dead_letter");
      cluster_.world.count("effect.dead." + settlement.reason);
      cluster_.world.note("store", "buried " + name_of(item) + " " + settlement.reason);
      if (settlement.reason.empty()) broken("I26", name_of(item) + " is dead without a reason");
      if (item.message.body != one.body) broken("I26", name_of(item) + " is dead with another body than was sent");
      break;
  }
}

void Ledger::check_acknowledged(const Item& item, const Body& body, Life& one) {
  for (const TaskId& follow_up : body.follow_ups) {
    if (life(follow_up).arrivals == 0)
      broken("I2", name_of(item) + " was acknowledged before its follow-up " + follow_up + " was safe");
  }
  const auto record = cluster_.results.get(item.task_id);
  if (one.early) {
    const Process* process = process_of(item.owner);
    if (process == nullptr || process->errors != body.errors_at_claim) one.may_be_lost = true;
    const bool ended = (record && state::ready(record->state)) || may_store_nothing(one, true);
    if (!one.may_be_lost && !ended) owed_.emplace(item.task_id, item.owner);
    return;
  }
  // Of two messages with one id the later delivery owns the record.
  const bool ready = (record && state::ready(record->state)) || lives_twice(item);
  const bool copied = one.highest_retry > number_of(item.message, "retries") ||
                      one.highest_crash > number_of(item.message, "errand_crashes");
  if (!body.dispatched) {
    // Revoked, expired, or known to have ended before.
    if (!ready && !may_store_nothing(one, true)) broken("I2", name_of(item) + " was acknowledged and never ran");
    const bool answered = record && (record->state == state::success || record->state == state::revoked);
    const auto back = put_back_.find(item.number);
    const bool for_nothing = back != put_back_.end() && back->second == one.excuses && !lives_twice(item);
    if (for_nothing && !answered && !may_store_nothing(one, true))
      broken("I26", name_of(item) + " was put back by an operator and acknowledged without having run");
    return;
  }
  if (body.began && !body.ended) {
    broken("I2", name_of(item) + " was acknowledged while it ran");
    return;
  }
  if (body.kind == Outcome::Kind::retry && !copied && !ready) {
    broken("I2", name_of(item) + " was acknowledged before its retry was safe");
  }
  if (body.kind == Outcome::Kind::cancelled && one.revoked == 0)
    broken("I20", name_of(item) + " was asked to end by a stop and is acknowledged");
  const bool error = body.kind != Outcome::Kind::success;
  const bool ends = body.kind == Outcome::Kind::success || body.kind == Outcome::Kind::failure ||
                    body.kind == Outcome::Kind::timed_out;
  if (ends && !ready && !may_store_nothing(one, error)) {
    broken("I2", name_of(item) + " was acknowledged before its outcome (" + body.how + ") was stored");
  }
  if (body.kind == Outcome::Kind::lost && !copied && !ready && !may_store_nothing(one, true)) {
    broken("I2", name_of(item) + " was acknowledged after its process died and nothing replaces it");
  }
}

void Ledger::written(const TaskResult& result, const TaskResult* before, bool accepted) {
  cluster_.world.note("store", (accepted ? "stored " : "kept against ") + result.state + " of " + result.id);
  if (!accepted) {
    cluster_.world.count("effect.result_refused");
    return;
  }
  cluster_.world.count("effect.result." +
                       (state::ready(result.state) || result.state == state::retry || result.state == state::started
                            ? result.state
                            : std::string("custom")));
  Life& one = life(result.id);
  if (state::ready(result.state)) owed_.erase(result.id);
  const std::optional<Claim> by = one.record_by;
  const auto mine = writer == nullptr ? latest_.end() : latest_.find({writer->owner, result.id});
  if (mine != latest_.end()) one.record_by = mine->second;
  if (before == nullptr) return;
  if (state::ready(before->state) && !state::ready(result.state) && one.excuses == 0 && one.revoked == 0 &&
      one.put_back == 0) {
    broken("I6", result.id + " went from " + before->state + " to " + result.state);
  }
  // A later delivery of the same message has written; one that lost its lease before must not.
  if (mine == latest_.end() || !by || !over_.contains(mine->second)) return;
  if (by->first == mine->second.first && by->second > mine->second.second) {
    broken("I12", writer->name + " replaced the newer record of " + result.id + " after its lease was lost");
  }
}

bool Ledger::lives_twice(const Item& item) const {
  return std::any_of(cluster_.store.items().begin(), cluster_.store.items().end(), [&](const auto& entry) {
    return entry.second.task_id == item.task_id && entry.first != item.number &&
           entry.second.state != Item::State::dead;
  });
}

bool Ledger::dead(const TaskId& id) const {
  return std::any_of(cluster_.store.items().begin(), cluster_.store.items().end(), [&](const auto& entry) {
    return entry.second.task_id == id && entry.second.state == Item::State::dead;
  });
}

void Ledger::judge() {
  for (const auto& [id, one] : lives_) judge_task(id, one);
  judge_chords();
}

void Ledger::judge_task(const TaskId& id, const Life& one) {
  if (one.answer == Answer::acknowledged && one.arrivals == 0) {
    broken("I3", id + " was acknowledged to its sender and never reached the broker");
    return;
  }
  if (one.answer == Answer::refused && one.arrivals > 0)
    broken("I3", id + " was refused to its sender and reached the broker");
  if (one.arrivals == 0) return;  // a chord's body that nobody sent, a send that was refused
  const auto record = cluster_.results.get(id);
  const bool ready = record && state::ready(record->state);
  // Acknowledged before it ran: lost with its worker, as its author chose.
  if (one.early && one.may_be_lost) return;
  if (!ready && !dead(id) && !may_store_nothing(one, false)) {
    const bool foreign_end = record && record->state == state::success;
    if (!foreign_end)
      broken("I1", id + " (" + one.task + ") left the queues in state " + (record ? record->state : "PENDING"));
  }
  if (record && record->state == state::success && !one.ran_well && cluster_.registry.find(one.task) != nullptr) {
    broken("I18", id + " is stored as SUCCESS and no run of it succeeded");
  }
}

void Ledger::judge_chords() {
  for (const auto& [group, chord] : chords_) {
    // What a simulated Python worker ran does not count itself; the real one does.
    if (std::any_of(bodies_.begin(), bodies_.end(), [&](const auto& entry) {
          return entry.second.foreign &&
                 std::find(chord.members.begin(), chord.members.end(), entry.second.task_id) != chord.members.end();
        })) {
      continue;
    }
    if (std::any_of(chord.members.begin(), chord.members.end(),
                    [&](const TaskId& id) { return life(id).answer != Answer::acknowledged || life(id).put_back > 0; }))
      continue;
    const bool all = std::all_of(chord.members.begin(), chord.members.end(), [&](const TaskId& id) {
      const auto record = cluster_.results.get(id);
      return record && record->state == state::success;
    });
    const auto record = cluster_.results.get(chord.body);
    const bool revoked = std::any_of(chord.members.begin(), chord.members.end(),
                                     [&](const TaskId& id) { return life(id).revoked > 0 || dead(id); });
    if (all && life(chord.body).executions == 0 && life(chord.body).revoked == 0) {
      broken("I8", "every member of chord " + group + " succeeded and its body never ran");
    }
    if (!all && life(chord.body).executions > 0)
      broken("I8", "a member of chord " + group + " did not succeed and its body ran");
    if (!all && !revoked && (!record || !state::ready(record->state))) {
      broken("I8", "a member of chord " + group + " failed and nobody who waits for its body is told");
    }
  }
}

}  // namespace errand::testing
