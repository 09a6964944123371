// RedisConsumer: giving back what was lost. Messages of Errand's workers return when their lease or their owner's
// heartbeat has ended; those of Python workers only by kombu's own rule, after the visibility timeout.
#include "brokers/redis/consumer.hpp"
#include "brokers/redis/outgoing.hpp"
#include "brokers/redis/scripts.gen.hpp"
#include "brokers/redis/stored.hpp"
#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"

#include <errand/error.hpp>

#include <algorithm>

namespace errand::redis {

namespace {

constexpr std::size_t kRestoreAtOnce = 100;
constexpr std::size_t kMostRounds = 100;        // of that many, before the consumer's own work goes on
constexpr std::size_t kEach = 4;                // values that sweep.lua returns for a message
constexpr std::size_t kEachForeign = 3;         // and find_foreign.lua
constexpr Milliseconds kSweepPeriod{900};       // for all consumers of a database together
constexpr Milliseconds kForeignLock{300'000};   // kombu's own (unacked_mutex_expire)
constexpr Milliseconds kMostClockSkew{60'000};  // Python's scores are its own clock's

// Marks of a message that somebody else held: one delivery more than it had before.
std::string given_back(std::string_view envelope, std::uint64_t token) {
  Marks marks;
  try {
    protocol::StoredMessage stored = protocol::read_envelope(envelope);
    marks = take_marks(stored.message.properties);
    if (marks.deliveries == 0 && stored.redelivered) marks.deliveries = 1;
  } catch (const protocol::DecodeFailure&) {
    return std::string(envelope);
  }
  marks.deliveries += 1;
  // Tokens are times.
  if (marks.first_seen_us == 0) marks.first_seen_us = static_cast<std::int64_t>(token);
  return with_marks(envelope, marks);
}

}  // namespace

void RedisConsumer::sweep() {
  const std::vector<std::string> keys{keys_.unacked(),     keys_.held(),   keys_.leases(),
                                      keys_.lease_index(), keys_.owners(), keys_.sweep()};
  const Milliseconds period = std::min(kSweepPeriod, options_.lease / 3);
  ERRAND_FAILPOINT("sweep.before");
  for (std::size_t round = 0; round < kMostRounds; ++round) {
    Commands commands;
    commands.eval(kSweepScript, keys)
        .word(options_.owner)
        .word(kRestoreAtOnce)
        .word(std::max<std::int64_t>(period.count(), 1));
    const Reply found = connection_.eval(kSweepScript, commands, "redis.sweep", Effect::repeatable);
    const std::vector<Reply>& ended = found.elements.at(1).elements;
    for (const Reply& owner : found.elements.at(0).elements) {
      log::warning("redis.owner_lost", "a worker is silent; its messages go back to their queues",
                   {{"owner", owner.text}});
      ERRAND_FAILPOINT("lease.expire");
      bury(owner.text, 0);
    }
    // A worker that died may have held thousands. What cannot go back stays where it is, and must not keep us here.
    const bool more = restore(ended) > 0 && ended.size() >= kRestoreAtOnce * kEach;
    if (found.elements.at(0).elements.empty() && !more) return;
    connection_.call({"DEL", keys_.sweep()});  // what was just ended, or is left, is found at once
  }
}

void RedisConsumer::bury(const std::string& owner, std::uint64_t after_token) {
  const std::vector<std::string> keys{keys_.leases(), keys_.lease_index(), keys_.owners()};
  std::string cursor = "0";
  do {
    Commands commands;
    commands.eval(kBuryScript, keys).word(owner).word(cursor);
    commands.word(after_token == 0 ? std::string() : std::to_string(after_token));
    cursor = connection_.eval(kBuryScript, commands, "redis.sweep", Effect::repeatable).text;
  } while (cursor != "0");
}

std::size_t RedisConsumer::restore(std::span<const Reply> ended) {
  struct Item {
    const std::string* tag;
    const std::string* record;
    LeaseRecord lease;
    std::string envelope;
  };
  std::vector<Item> items;
  for (std::size_t i = 0; i + kEach <= ended.size(); i += kEach) {
    const LeaseRecord lease = parse_lease(ended[i + 1].text);
    if (lease.list.empty()) continue;
    const bool odd = ended[i + 2].text == "h";
    items.push_back(
        {&ended[i].text, &ended[i + 1].text, lease,
         odd ? ended[i + 3].text
             : given_back(with_senders_tag(stored_envelope(ended[i + 3].text, queue_of_list(keys_, lease.list)),
                                           ended[i].text),
                          lease.token)});
  }
  if (items.empty()) return 0;
  ERRAND_FAILPOINT("restore.before");
  // Each goes to the front of the line; the one that was first goes there last.
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.lease.token > b.lease.token; });
  const std::vector<std::string> keys{keys_.unacked(), keys_.unacked_index(), keys_.leases(), keys_.lease_index(),
                                      keys_.held()};
  Commands commands;
  commands.eval(kRestoreScript, keys);
  for (const Item& item : items) {
    commands.word(*item.tag).word(*item.record).word(item.lease.list).word(item.envelope);
  }
  ERRAND_FAILPOINT_DURING("restore.between");
  const Reply moved = connection_.eval(kRestoreScript, commands, "redis.restore", Effect::repeatable);
  log::info("redis.restore", "messages whose lease has ended go back to their queues", {{"messages", moved.integer}});
  watch_.disturb();
  return static_cast<std::size_t>(moved.integer);
}

void RedisConsumer::restore_foreign() {
  for (std::size_t round = 0; round < kMostRounds && restore_some_foreign(); ++round) {
  }
}

// True: some went back, and there may be more.
bool RedisConsumer::restore_some_foreign() {
  const Milliseconds age = transport_.visibility_timeout + std::min(kMostClockSkew, transport_.visibility_timeout / 10);
  const std::vector<std::string> keys{keys_.unacked(), keys_.unacked_index(), keys_.leases(), keys_.unacked_mutex()};
  Commands find;
  find.eval(kFindForeignScript, keys).word(Microseconds(age).count()).word(kRestoreAtOnce);
  find.word(options_.owner).word(kForeignLock.count());
  const Reply found = connection_.eval(kFindForeignScript, find, "redis.restore", Effect::repeatable);
  if (found.elements.empty()) return false;
  const std::vector<std::string> restore_keys{keys_.unacked(), keys_.unacked_index(), keys_.unacked_mutex()};
  Commands commands;
  commands.eval(kRestoreForeignScript, restore_keys).word(options_.owner);
  for (std::size_t i = 0; i + kEachForeign <= found.elements.size(); i += kEachForeign) {
    try {
      const protocol::Unacked unacked = protocol::read_unacked(found.elements[i + 2].text);
      const protocol::StoredMessage stored = protocol::read_envelope(unacked.envelope);
      std::vector<std::string> queues;
      if (unacked.route.exchange.empty()) {
        queues.push_back(unacked.route.routing_key);
      } else {
        const Reply members = connection_.call({"SMEMBERS", keys_.binding(unacked.route.exchange)});
        queues = bound_queues(unacked.route, members.elements);
      }
      if (queues.empty()) continue;  // its binding is gone; the message stays where it can be seen
      const std::string envelope = given_back(unacked.envelope, 0);
      commands.word(found.elements[i].text).word(found.elements[i + 1].text).word(queues.size());
      for (const std::string& queue : queues) commands.word(keys_.list(queue, stored.priority)).word(envelope);
    } catch (const protocol::DecodeFailure& failure) {
      log::limited(log::Level::warning, "redis.restore", failure.line());
    }
  }
  const Reply moved = connection_.eval(kRestoreForeignScript, commands, "redis.restore", Effect::repeatable);
  if (moved.integer == 0) return false;
  log::warning("redis.restore", "messages that Python workers held beyond the visibility timeout go back",
               {{"messages", moved.integer}});
  watch_.disturb();
  return found.elements.size() >= kRestoreAtOnce * kEachForeign;
}

}  // namespace errand::redis
