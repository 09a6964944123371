// RedisConsumer: what becomes of deliveries. Everything that belongs together is one call of settle.lua.
#include "brokers/redis/consumer.hpp"
#include "brokers/redis/dead_letters.hpp"
#include "brokers/redis/outgoing.hpp"
#include "brokers/redis/stored.hpp"
#include "core/failpoint.hpp"
#include "protocol/result_json.hpp"
#include "wire/redis/store_user.hpp"

#include <errand/error.hpp>

#include <algorithm>

namespace errand::redis {

namespace {

TimePoint wall_now() { return std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()); }

}  // namespace

void RedisConsumer::settle(std::span<const Settlement> settlements) {
  if (!settlements.empty()) stale_ += apply({}, {}, settlements, nullptr, "redis.settle");
}

bool RedisConsumer::commit(const Commit& commit, ResultBackend* results_in) {
  const auto* user = dynamic_cast<const StoreUser*>(results_in);
  if (!commit.results.empty() && (user == nullptr || !user->store_url().same_store(connection_.url()))) return false;
  check_sizes(commit.follow_ups, transport_.max_message_bytes);
  ERRAND_FAILPOINT_DURING("result.commit_sent");
  stale_ += apply(commit.follow_ups, commit.results, commit.settlements, results_in, "redis.commit");
  return true;
}

std::size_t RedisConsumer::apply(std::span<const Envelope> follow_ups, std::span<const TaskResult> results,
                                 std::span<const Settlement> settlements, ResultBackend* store,
                                 std::string_view operation) {
  SettleCall call;
  call.keys = keys_.settle_keys();
  call.owner = options_.owner;
  call.follow_ups = writes_of(follow_ups, keys_, connection_);
  if (const auto* user = dynamic_cast<const StoreUser*>(store)) {
    call.seconds_to_live = user->seconds_to_live();
    for (const TaskResult& result : results) {
      call.results.push_back({user->result_key(result.id), protocol::encode_result(result), result.token});
    }
  }
  for (const Settlement& settlement : settlements) {
    if (settlement.kind == Settlement::Kind::ack) {
      call.settlements.push_back({settlement.receipt.id, settlement.receipt.token, {}});
    }
  }
  const std::size_t acks = call.settlements.size();
  if (acks < settlements.size()) add_moves(call.settlements, settlements);
  const std::size_t vanished = settlements.size() - call.settlements.size();
  const std::size_t stale = vanished + call.run(connection_, operation);
  for (const Settlement& settlement : settlements) {
    const auto held = held_.find(settlement.receipt.id);
    if (held != held_.end() && held->second.token == settlement.receipt.token) held_.erase(held);
  }
  return stale;
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
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const Settlement& one = *moves[i];
    const std::string list(parse_lease(replies[0].elements.at(i).text).list);
    const Reply& unacked = replies[1].elements.at(i);
    const Reply& odd = replies[2].elements.at(i);
    if (list.empty() || (unacked.is_nil() && odd.is_nil())) continue;  // no longer ours
    const std::string_view queue = queue_of_list(keys_, list);
    const std::string_view envelope =
        unacked.is_nil() ? std::string_view(odd.text) : stored_envelope(unacked.text, queue);
    const auto held = held_.find(one.receipt.id);
    const Marks marks = held != held_.end() ? held->second.marks : Marks{1, 0};
    SettleWrite write{one.receipt.id, one.receipt.token, {}};
    switch (one.kind) {
      case Settlement::Kind::requeue:
        write.writes.push_back({Write::Kind::push_front, list, "", with_marks(envelope, marks)});
        break;
      case Settlement::Kind::park:
        // Not begun, so the delivery does not count.
        write.writes.push_back(
            parked_write(keys_, queue, list, std::to_string(one.receipt.token), envelope, one.not_before));
        break;
      case Settlement::Kind::dead_letter: {
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
