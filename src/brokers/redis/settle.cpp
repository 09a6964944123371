// RedisConsumer: what becomes of deliveries. Everything that belongs together is one call of settle.lua.
#include "brokers/redis/consumer.hpp"
#include "brokers/redis/dead_letters.hpp"
#include "brokers/redis/outgoing.hpp"
#include "brokers/redis/stored.hpp"
#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "protocol/result_json.hpp"
#include "wire/redis/store_user.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace errand::redis {

namespace {

TimePoint wall_now() { return std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()); }

}  // namespace

void RedisConsumer::settle(std::span<const Settlement> settlements) {
  if (!settlements.empty()) apply({{}, {}, settlements}, nullptr, "redis.settle");
}

bool RedisConsumer::commit(const Commit& commit, ResultBackend* results_in) {
  const auto* user = dynamic_cast<const StoreUser*>(results_in);
  if (!commit.results.empty() && (user == nullptr || !user->store_url().same_store(connection_.url()))) return false;
  check_sizes(commit.follow_ups, transport_.max_message_bytes);
  ERRAND_FAILPOINT_DURING("result.commit_sent");
  apply(commit, results_in, "redis.commit");
  ERRAND_FAILPOINT_IF(!ahead_.empty(), "claim.after");
  return true;
}

// Not while next() has something to do first: chores, a new connection, an answer that was lost.
bool RedisConsumer::may_fetch_along() const noexcept {
  return ahead_.empty() && !lost_answer_ && connection_.connected() && generation_ == connection_.generation() &&
         next_chore() > std::chrono::steady_clock::now();
}

// The fetch goes ahead of the call: the server takes messages while the call is being written, and settles while what
// it took is being read. Until its answer has come it may have taken some.
SteadyPoint RedisConsumer::start_fetch(std::size_t max) {
  ERRAND_FAILPOINT("claim.before");
  Commands commands;
  append_fetch(commands, max);
  const SteadyPoint asked_at = std::chrono::steady_clock::now();
  lost_answer_ = true;
  connection_.start(commands);
  return asked_at;
}

// One round trip, and each by itself: what was fetched is ours whatever becomes of the rest.
std::vector<std::uint64_t> RedisConsumer::run_and_fetch(const SettleCall& call, std::string_view operation,
                                                        SteadyPoint asked_at) {
  Commands commands;
  call.append(commands);
  connection_.start(commands);
  const Reply fetched = connection_.answer();
  const bool looked = call.only_ends();  // what the call itself puts on a list or parks came after this look
  const bool ask_first = tells_of_revoked(fetched);
  if (!ask_first) take_ahead(fetched, asked_at, looked);
  const Reply settled = connection_.answer();
  if (ask_first) take_ahead(fetched, asked_at, looked);
  if (is_unknown_script(settled)) return call.run(connection_, operation);
  require(settled, operation);
  return SettleCall::late_of(settled);
}

// An error is for the log: the outcomes are safe, or have an error of their own.
void RedisConsumer::take_ahead(const Reply& reply, SteadyPoint asked_at, bool looked) {
  lost_answer_ = false;
  if (reply.is_error()) return;  // the next fetch says why
  try {
    take_in(reply, asked_at);
    looked_ahead_ = looked;
  } catch (const Error& error) {
    lost_answer_ = true;
    log::limited(log::Level::warning, "redis.fetch", std::string(error.what()) + "; what was taken comes again");
  }
}

void RedisConsumer::apply(const Commit& commit, ResultBackend* store, std::string_view operation) {
  SettleCall call;
  call.keys = keys_.settle_keys();
  call.owner = options_.owner;
  call.epoch = epoch_;
  // Nobody else can have an orphaned message, and there is nothing left of it to settle.
  const auto orphaned = [&](const Receipt& receipt) {
    const auto held = held_.find(receipt.id);
    return held != held_.end() && held->second.token == receipt.token && held->second.orphaned;
  };
  std::vector<Settlement> moves;
  std::set<std::uint64_t> late;  // tokens
  for (const Settlement& settlement : commit.settlements) {
    if (orphaned(settlement.receipt)) {
      stale_ += 1;
    } else if (settlement.kind == Settlement::Kind::ack) {
      call.settlements.push_back({settlement.receipt.id, settlement.receipt.token, {}});
    } else {
      moves.push_back(settlement);
      late.insert(settlement.receipt.token);
    }
  }
  if (!moves.empty()) add_moves(call.settlements, moves);
  for (const SettleWrite& one : call.settlements) late.erase(one.token);  // what is left has vanished already
  // 0: belongs to nothing that could be lost. nullopt: is lost.
  const auto belongs = [&](std::span<const std::uint32_t> of, std::size_t i) -> std::optional<std::uint64_t> {
    if (i >= of.size() || of[i] >= commit.settlements.size()) return 0;
    const Receipt& receipt = commit.settlements[of[i]].receipt;
    if (late.count(receipt.token) > 0) return std::nullopt;
    return orphaned(receipt) ? 0 : receipt.token;
  };
  std::vector<std::size_t> place;
  std::vector<Write> writes = writes_of(commit.follow_ups, keys_, connection_, &place, server_clock_.doubt());
  for (std::size_t i = 0; i < writes.size(); ++i) {
    if (const auto token = belongs(commit.follow_ups_of, place[i]))
      call.follow_ups.push_back({std::move(writes[i]), *token});
  }
  const std::size_t most = std::max({call.follow_ups.size(), call.settlements.size(), commit.results.size()});
  const bool along = commit.then_fetch > 0 && most > 0 && SettleCall::fits(most) && may_fetch_along();
  const SteadyPoint asked_at = along ? start_fetch(commit.then_fetch) : SteadyPoint{};
  if (const auto* user = dynamic_cast<const StoreUser*>(store)) {
    call.seconds_to_live = user->seconds_to_live();
    call.results.reserve(commit.results.size());
    for (std::size_t i = 0; i < commit.results.size(); ++i) {
      const TaskResult& result = commit.results[i];
      const auto token = belongs(commit.results_of, i);
      if (!token) continue;
      call.results.push_back({user->result_key(result.id), protocol::encode_result(result), result.token, *token});
    }
  }
  for (const std::uint64_t token :
       along ? run_and_fetch(call, operation, asked_at) : call.run(connection_, operation)) {
    late.insert(token);
  }
  for (const Settlement& settlement : commit.settlements) {
    const auto held = held_.find(settlement.receipt.id);
    if (held != held_.end() && held->second.token == settlement.receipt.token) held_.erase(held);
    if (late.count(settlement.receipt.token) == 0) continue;
    stale_ += 1;
    lost_.push_back(settlement.receipt);
  }
}

// Everything but an acknowledgement writes the message somewhere else, so its bytes are read first. That takes one
// round trip more; the step itself checks again that the message is still ours.
void RedisConsumer::add_moves(std::vector<SettleWrite>& out, std::span<const Settlement> settlements) {
  std::vector<const Settlement*> moves;
  for (const Settlement& one : settlements) {
    if (one.kind != Settlement::Kind::ack) moves.push_back(&one);
  }
  // Each goes to the front of the line; the one that was first goes there last.
  std::sort(moves.begin(), moves.end(),
            [](const Settlement* a, const Settlement* b) { return a->receipt.token > b->receipt.token; });
  Commands commands;
  for (const std::string& key : {keys_.leases(), keys_.unacked(), keys_.held()}) {
    commands.begin("HMGET").word(key);
    for (const Settlement* one : moves) commands.word(one->receipt.id);
  }
  const std::vector<Reply> replies = connection_.call(commands, Effect::repeatable);
  require_all(replies, "redis.settle");
  std::map<std::string, std::int64_t, std::less<>> dead;  // letters per queue, with those of this batch
  const auto full = [&](std::string_view queue) {
    auto known = dead.find(queue);
    if (known == dead.end()) known = dead.emplace(queue, connection_.call({"HLEN", keys_.dead(queue)}).integer).first;
    if (static_cast<std::size_t>(known->second) < transport_.max_dead_letters) {
      known->second += 1;
      return false;
    }
    log::limited(log::Level::error, "dead.full",
                 "queue " + std::string(queue) + " has " + std::to_string(known->second) +
                     " dead letters, limit max_dead_letters; what cannot run waits in its queue: requeue or drop some");
    return true;
  };
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const Settlement& one = *moves[i];
    const std::string list(parse_lease(replies[0].elements.at(i).text).list);
    const Reply& unacked = replies[1].elements.at(i);
    const Reply& odd = replies[2].elements.at(i);
    if (list.empty() || (unacked.is_nil() && odd.is_nil())) continue;  // no longer ours
    const std::string_view queue = queue_of_list(keys_, list);
    const std::string envelope =
        unacked.is_nil() ? odd.text : with_senders_tag(stored_envelope(unacked.text, queue), one.receipt.id);
    const auto held = held_.find(one.receipt.id);
    const Marks marks = held != held_.end() ? held->second.marks : Marks{1, 0};
    SettleWrite write{one.receipt.id, one.receipt.token, {}};
    switch (one.kind) {
      case Settlement::Kind::requeue: {
        // It does not count, but the next one is a redelivery.
        const Marks before{std::max(marks.deliveries, 1u) - 1, marks.first_seen_us};
        write.writes.push_back({Write::Kind::push_front, list, "", with_marks(envelope, before)});
        break;
      }
      case Settlement::Kind::park:
        // The envelope has the marks of the delivery before: one that was not begun does not count.
        write.writes.push_back(parked_write(keys_, queue, list, std::to_string(one.receipt.token),
                                            one.begun ? with_marks(envelope, marks) : envelope,
                                            one.not_before + server_clock_.doubt()));
        break;
      case Settlement::Kind::dead_letter: {
        if (full(queue)) {
          write.writes.push_back(parked_write(keys_, queue, list, std::to_string(one.receipt.token), envelope,
                                              wall_now() + kFullDeadWait));
          break;
        }
        const std::string id = std::to_string(one.receipt.token);
        write.writes.push_back(
            {Write::Kind::set_field, keys_.dead(queue), id, encode_dead(one, marks, wall_now(), list, envelope)});
        write.writes.push_back({Write::Kind::add_scored, keys_.dead_index(queue), id, id});
        break;
      }
      case Settlement::Kind::ack:
        break;
    }
    out.push_back(std::move(write));
  }
}

}  // namespace errand::redis
