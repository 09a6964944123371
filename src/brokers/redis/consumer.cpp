// The consumer's life: waiting and fetching. Settling is in settle.cpp, giving back what others lost in restore.cpp.
#include "brokers/redis/consumer.hpp"

#include "brokers/redis/rights.hpp"
#include "brokers/redis/scripts.gen.hpp"
#include "brokers/redis/stored.hpp"
#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "core/uuid.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"

#include <errand/error.hpp>

#include <unistd.h>
#include <algorithm>
#include <utility>

namespace errand::redis {

namespace {

constexpr Milliseconds kLongestHeartbeat{30'000};  // an owner that is silent for longer counts as dead
constexpr Milliseconds kSweepEvery{2'000};         // how soon a dead owner's messages are found after that
constexpr Milliseconds kForeignEvery{60'000};
constexpr Milliseconds kLookEvery{10'000};     // an idle connection is used at least this often
constexpr unsigned kMostLooks = 5;             // in a row at a list that exists and yields nothing,
constexpr Milliseconds kLookAgain{100};        // and then after this pause
constexpr Milliseconds kReconnectJitter{200};  // spreads the workers of a server that came back
constexpr std::size_t kMostAtOnce = 500;       // bound by Lua's stack
constexpr Milliseconds kShortest{100};
// Of the answer of fetch.lua.
constexpr std::size_t kHead = 5;
constexpr std::size_t kEach = 3;
constexpr Milliseconds kSoon{1};  // what is due by the server's clock, but not quite

std::vector<std::string> lists_of(const Keys& keys, const std::vector<std::string>& queues) {
  std::vector<std::string> lists;
  for (const std::string& queue : queues) {
    for (std::string& list : keys.lists(queue)) lists.push_back(std::move(list));
  }
  return lists;
}

std::vector<std::string> parked_of(const Keys& keys, const std::vector<std::string>& queues) {
  std::vector<std::string> parked;
  for (const std::string& queue : queues) parked.push_back(keys.parked(queue));
  return parked;
}

// Python's restore job gives a message back after the visibility timeout, counted from the last renewal. A lease that
// lasted longer would let us believe in a message that a Python worker runs already.
ConsumeOptions within(ConsumeOptions options, Milliseconds visibility_timeout) {
  options.lease = std::min(options.lease, visibility_timeout);
  return options;
}

Milliseconds heartbeat_of(const ConsumeOptions& options) {
  return std::clamp(options.lease, kShortest, kLongestHeartbeat);
}

std::string microseconds(Milliseconds duration) { return std::to_string(Microseconds(duration).count()); }

ConsumeOptions checked(ConsumeOptions options) {
  if (options.queues.empty()) {
    throw Error(
        {.kind = ErrorKind::invalid, .operation = "redis.consume", .detail = "expected at least one queue, got none"});
  }
  for (const std::string& queue : options.queues) check_queue_name(queue);
  if (options.owner.empty()) options.owner = core::uuid4();
  std::replace(options.owner.begin(), options.owner.end(), '|', '_');  // the records' own separator
  return options;
}

}  // namespace

RedisConsumer::RedisConsumer(Url url, TransportOptions transport, ConsumeOptions options)
    : transport_(std::move(transport)),
      options_(within(checked(std::move(options)), transport_.visibility_timeout)),
      keys_(transport_.key_prefix, transport_.priority_steps),
      connection_(
          std::move(url),
          {.connect_timeout = transport_.connect_timeout, .answer_timeout = transport_.publish_timeout, .resp3 = true}),
      watch_(connection_, lists_of(keys_, options_.queues), parked_of(keys_, options_.queues)),
      pid_(getpid()) {
  require_rights(connection_, keys_, options_.queues);
  heartbeat();
  const SteadyPoint now = std::chrono::steady_clock::now();
  heartbeat_at_ = now + heartbeat_of(options_) / 3;
  look_at_ = now + kLookEvery;
}

RedisConsumer::~RedisConsumer() {
  if (pid_ != getpid()) return;  // what is held belongs to the parent
  try {
    ERRAND_FAILPOINT("shutdown.return_leases");
    std::vector<Settlement> back;
    for (const Delivery& one : ahead_) {
      const auto held = held_.find(one.receipt.id);
      if (held != held_.end()) held->second.marks.deliveries -= 1;  // nobody has seen it
    }
    for (auto& [tag, held] : held_) {
      held.marks.deliveries += 1;  // whoever leaves it to this has not stopped in order: the delivery counts
      back.push_back({.receipt = {tag, held.token, {}}, .kind = Settlement::Kind::requeue});
    }
    // Not by a new connection: behind a lost one the server may not answer, and leases end by themselves.
    if (!back.empty() && connection_.connected()) apply({{}, {}, back}, nullptr, "redis.return");
    if (connection_.connected()) connection_.call({"ZREM", keys_.owners(), options_.owner});
  } catch (const Error& away) {
    log::limited(log::Level::warning, "redis.return", away.what());  // the leases end by themselves
  }
}

std::span<Delivery> RedisConsumer::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  bool looked = std::exchange(looked_ahead_, false);
  if (!ahead_.empty()) return hand_out();
  if (max == 0) {
    watch_.wait_for_wake(deadline);
    return {};
  }
  if (!connection_.connected() && lost_connection_) {
    // All workers lose a server at the same moment and must not all come back at the same moment.
    constexpr auto kMost = static_cast<std::uint64_t>(kReconnectJitter.count());
    const Milliseconds some{static_cast<std::int64_t>(core::random_bits() % kMost)};
    if (watch_.wait_for_wake(deadline.earlier(Deadline::after(some)))) return {};
  }
  try {
    unsigned looks = 0;
    for (;;) {
      if (!connection_.connected()) connection_.connect();
      maintain();
      Deadline until = next_duty(deadline);
      if (!watch_.quiet() || due_at_ <= std::chrono::steady_clock::now()) {
        if (!std::exchange(looked, false)) fetch(max);
        if (!ahead_.empty()) return hand_out();
        watch_.fruitful(false);
        // Something is there and does not come: others are quicker, or the key is no list. Do not spin for it.
        const bool insist = ++looks > kMostLooks;
        if (!watch_.arm(insist)) continue;
        until = next_duty(insist ? deadline.earlier(Deadline::after(kLookAgain)) : deadline);
        if (insist) look_at_ = std::chrono::steady_clock::now() + kLookAgain;
      }
      if (watch_.take_wake() || deadline.passed()) return {};
      if (watch_.wait(until) == Watch::End::woken) return {};
      looks = 0;
    }
  } catch (const Error&) {
    lost_connection_ = lost_connection_ || !connection_.connected();
    throw;
  }
}

// Keys in the order in which the queues are asked this time.
std::vector<std::string> RedisConsumer::fetch_keys() const {
  std::vector<std::string> keys{keys_.unacked(), keys_.unacked_index(), keys_.leases(), keys_.lease_index(),
                                keys_.held(),    keys_.token(),         keys_.revoked()};
  for (std::size_t i = 0; i < options_.queues.size(); ++i) {
    const std::string& queue = options_.queues[(rotation_ + i) % options_.queues.size()];
    keys.push_back(keys_.parked(queue));
    for (std::string& list : keys_.lists(queue)) keys.push_back(std::move(list));
  }
  return keys;
}

std::span<Delivery> RedisConsumer::hand_out() {
  watch_.fruitful(true);
  deliveries_.swap(ahead_);
  return deliveries_;
}

void RedisConsumer::append_fetch(Commands& commands, std::size_t max) {
  commands.eval(kFetchScript, fetch_keys());
  commands.word(std::min(max, kMostAtOnce)).word(options_.owner).word(microseconds(options_.lease));
  commands.word(keys_.step_count()).word(core::uuid4() + "-");
  for (std::size_t i = 0; i < options_.queues.size(); ++i) {
    commands.word(to_json(Value(options_.queues[(rotation_ + i) % options_.queues.size()])));
  }
}

void RedisConsumer::fetch(std::size_t max) {
  Commands commands;
  append_fetch(commands, max);
  const SteadyPoint asked_at = std::chrono::steady_clock::now();
  Reply reply;
  try {
    ERRAND_FAILPOINT("claim.before");
    ERRAND_FAILPOINT_DURING("fetch.after_pop");
    reply = connection_.eval(kFetchScript, commands, "redis.fetch", Effect::changes);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::in_doubt) throw;
    lost_answer_ = true;
    throw Error({.kind = ErrorKind::unavailable,
                 .operation = "redis.fetch",
                 .subject = connection_.url().address.text(),
                 .detail = error.detail() + "; what was taken comes again",
                 .code = error.code()});
  }
  lost_connection_ = false;
  take_in(reply, asked_at);
  ERRAND_FAILPOINT_IF(!ahead_.empty(), "claim.after");
}

bool RedisConsumer::tells_of_revoked(const Reply& reply) const {
  return reply.elements.size() >= kHead && !reply.elements[4].text.empty() && reply.elements[4].text != revoked_seen_;
}

void RedisConsumer::take_in(const Reply& reply, SteadyPoint asked_at) {
  if (reply.elements.size() < kHead) {
    throw Error({.kind = ErrorKind::bug, .operation = "redis.fetch", .detail = "the script's answer is too short"});
  }
  const std::int64_t now_us = std::stoll(reply.elements[0].text);
  note_skew(now_us);
  server_clock_.heard(now_us, asked_at, std::chrono::steady_clock::now());
  due_at_ = SteadyPoint::max();
  if (const std::string& due = reply.elements[1].text; !due.empty()) {
    const std::int64_t left =
        std::clamp<std::int64_t>(std::stoll(due) - now_us, 0, Microseconds(std::chrono::hours(24)).count());
    due_at_ = std::chrono::steady_clock::now() + Microseconds{left};
  }
  // One key of another type must not stop the other queues, nor keep this one awake.
  SteadyPoint not_before = std::chrono::steady_clock::now() + kSoon;
  if (const std::string& refused = reply.elements[3].text; !refused.empty()) {
    log::limited(log::Level::error, "redis.fetch", refused);
    not_before += kLookAgain;
  }
  if (reply.elements.size() == kHead) due_at_ = std::max(due_at_, not_before);
  try {
    learn_revoked(reply.elements[4].text, now_us);
  } catch (const Error&) {
    lost_answer_ = reply.elements.size() > kHead;  // what was taken comes again
    throw;
  }
  const std::uint64_t first = std::stoull(reply.elements[2].text);
  ahead_.reserve((reply.elements.size() - kHead) / kEach);
  for (std::size_t at = kHead; at + kEach <= reply.elements.size(); at += kEach) {
    const std::uint64_t token = first + (at - kHead) / kEach;
    const auto queue = static_cast<std::size_t>(reply.elements[at + 1].integer);
    Delivery& delivery = decode(reply.elements[at].text, token, queue, reply.elements[at + 2].text);
    Held& held = held_[delivery.receipt.id];
    held.token = token;
    held.queue = delivery.receipt.queue;
    held.orphaned = false;
    held.marks.deliveries = delivery.deliveries;
    const Marks marks = take_marks(delivery.message.properties);
    held.marks.first_seen_us = marks.first_seen_us != 0 ? marks.first_seen_us : now_us;
    // Marks begin anew when a dead letter is put back. Whoever else gave it back leaves none.
    if (marks.first_seen_us != 0 || !delivery.redelivered) {
      delivery.life_token = static_cast<std::uint64_t>(held.marks.first_seen_us);
    }
    held.marks.deliveries = delivery.deliveries = std::max(marks.deliveries + 1, delivery.redelivered ? 2u : 1u);
    last_token_ = std::max(last_token_, token);
  }
  if (!ahead_.empty()) rotation_ = (rotation_ + 1) % options_.queues.size();
}

// By the steady clock and what the server said, so that a step of this machine's wall clock does not matter.
Microseconds RedisConsumer::clock_ahead() const noexcept {
  if (!server_clock_.known()) return Microseconds{0};
  const std::int64_t there = server_clock_.now_us(std::chrono::steady_clock::now());
  return Microseconds{there} -
         std::chrono::duration_cast<Microseconds>(std::chrono::system_clock::now().time_since_epoch());
}

// Decisions go by the server's clock. What this machine writes (an ETA of its own, a result's date) does not.
void RedisConsumer::note_skew(std::int64_t server_us) {
  constexpr Milliseconds kMostSkew{2'000};
  const auto here = std::chrono::duration_cast<Microseconds>(std::chrono::system_clock::now().time_since_epoch());
  const auto skew = std::chrono::duration_cast<Milliseconds>(here - Microseconds{server_us});
  if (skew > -kMostSkew && skew < kMostSkew) return;
  log::limited(log::Level::warning, "redis.clock_skew",
               "this host's clock is " + std::to_string(skew.count() / 1000) +
                   "s ahead of the server's (negative: behind); the times of results go by it. Check NTP");
}

Delivery& RedisConsumer::decode(const std::string& tag, std::uint64_t token, std::size_t queue,
                                const std::string& bytes) {
  Delivery& delivery = ahead_.emplace_back();
  delivery.receipt = {tag, token, options_.queues[(rotation_ + queue) % options_.queues.size()]};
  try {
    protocol::StoredMessage stored = protocol::read_envelope(bytes);
    delivery.message = std::move(stored.message);
    delivery.route = std::move(stored.route);
    delivery.redelivered = stored.redelivered;
    // The mark belongs to this delivery; a retry that copies the headers is a new message.
    delivery.message.headers.erase("redelivered");
  } catch (const protocol::DecodeFailure& failure) {
    delivery.defect = failure.line();
    delivery.raw = bytes;
  }
  return delivery;
}

SteadyPoint RedisConsumer::next_chore() const noexcept {
  return std::min({heartbeat_at_, sweep_at_, foreign_at_, look_at_, held_.empty() ? SteadyPoint::max() : touch_at_});
}

Deadline RedisConsumer::next_duty(Deadline deadline) const {
  return deadline.earlier(Deadline::at(std::min(next_chore(), due_at_)));
}

void RedisConsumer::maintain() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  // Before the sweep: a worker that was stopped for a while and lost nothing yet is not to end its own leases. And
  // first of all on a new connection: behind it may be a server that has lost its data.
  if (heartbeat_at_ <= now || generation_ != connection_.generation()) heartbeat();
  if (lost_answer_) {
    bury(options_.owner, std::max<std::uint64_t>(last_token_, 1));
    lost_answer_ = false;
  }
  // A visibility timeout below the lease that was asked for: Python's restore job has to be told more often than the
  // engine renews.
  const bool touch = transport_.visibility_timeout <= options_.lease;
  if (touch && touch_at_ <= now && !held_.empty()) {
    std::vector<Receipt> all;
    for (const auto& [tag, held] : held_) {
      if (!held.orphaned) all.push_back({tag, held.token, held.queue});
    }
    if (!all.empty()) renew(all, options_.lease);
  }
  if (touch && touch_at_ <= now) touch_at_ = now + std::max(kShortest, options_.lease / 3);
  if (!touch) touch_at_ = SteadyPoint::max();
  if (sweep_at_ <= now) {
    sweep_at_ = now + std::clamp(options_.lease / 2, kShortest, kSweepEvery);
    sweep();
  }
  if (foreign_at_ <= now) {
    foreign_at_ = now + std::clamp(transport_.visibility_timeout / 4, kShortest, kForeignEvery);
    restore_foreign();
  }
  if (look_at_ <= now) {
    look_at_ = now + kLookEvery;
    watch_.disturb();
  }
}

std::size_t RedisConsumer::renew(std::span<const Receipt> receipts, Milliseconds lease) {
  const std::vector<std::string> keys{keys_.unacked_index(), keys_.leases(),  keys_.lease_index(), keys_.owners(),
                                      keys_.epoch(),         keys_.unacked(), keys_.held()};
  const Milliseconds heartbeat = heartbeat_of(options_);
  std::size_t late = 0;
  do {
    const std::span<const Receipt> some = receipts.first(std::min(receipts.size(), kMostAtOnce));
    receipts = receipts.subspan(some.size());
    Commands commands;
    commands.eval(kExtendScript, keys).word(options_.owner).word(microseconds(lease)).word(microseconds(heartbeat));
    commands.word(core::uuid4());
    for (const Receipt& receipt : some) commands.word(receipt.id).word(receipt.token);
    const Reply reply = connection_.eval(kExtendScript, commands, "redis.extend", Effect::repeatable);
    generation_ = connection_.generation();
    learn_epoch(reply.elements.at(0).text);
    late += reply.elements.size() - 1;
    for (std::size_t i = 1; i < reply.elements.size(); ++i) {
      const std::uint64_t token = std::stoull(reply.elements[i].text);
      const auto receipt =
          std::find_if(some.begin(), some.end(), [&](const Receipt& one) { return one.token == token; });
      const auto held = receipt == some.end() ? held_.end() : held_.find(receipt->id);
      if (held == held_.end() || held->second.token != token || held->second.orphaned) continue;
      held_.erase(held);
      lost_.push_back(*receipt);
    }
  } while (!receipts.empty());
  heartbeat_at_ = std::chrono::steady_clock::now() + heartbeat / 3;
  return late;
}

void RedisConsumer::extend(std::span<const Receipt> receipts, Milliseconds lease) {
  if (receipts.empty()) return;
  ERRAND_FAILPOINT("lease.renew");
  stale_ +=
      renew(receipts, std::clamp(lease, Milliseconds{1}, std::max(transport_.visibility_timeout, Milliseconds{1})));
}

// A server that has restarted without its data, or was emptied: of the messages held only this worker knows now. What
// comes of them is stored, although there is nothing left to settle.
void RedisConsumer::learn_epoch(const std::string& epoch) {
  const bool lost = !epoch_.empty() && epoch_ != epoch;
  epoch_ = epoch;
  if (!lost || held_.empty()) return;
  Commands commands;
  commands.begin("HMGET").word(keys_.leases());
  for (const auto& [tag, held] : held_) commands.word(tag);
  const std::vector<Reply> replies = connection_.call(commands, Effect::repeatable);
  require_all(replies, "redis.extend");
  std::size_t at = 0, orphaned = 0;
  for (auto& [tag, held] : held_) {
    const LeaseRecord record = parse_lease(replies[0].elements.at(at++).text);
    held.orphaned = record.token != held.token;
    orphaned += held.orphaned ? 1 : 0;
  }
  log::error("redis.data_lost", "the server has lost its data; what runs here is finished, what waited there is gone",
             {{"held", orphaned}});
}

// Ids revoked since we asked last, told by their times. One round trip, and only when there are some.
void RedisConsumer::learn_revoked(const std::string& newest, std::int64_t now_us) {
  if (newest.empty() || newest == revoked_seen_) return;
  const std::string after = revoked_seen_ == "-inf" ? revoked_seen_ : "(" + revoked_seen_;
  const Reply found = connection_.call({"ZRANGEBYSCORE", keys_.revoked(), after, "+inf", "WITHSCORES"});
  // RESP3 answers with pairs, RESP2 with one list of both.
  std::vector<std::pair<std::string_view, double>> ids;
  for (std::size_t i = 0; i < found.elements.size(); ++i) {
    const Reply& one = found.elements[i];
    if (one.elements.size() == 2) {
      ids.emplace_back(one.elements[0].text, std::stod(one.elements[1].text));
    } else if (i + 1 < found.elements.size()) {
      ids.emplace_back(one.text, std::stod(found.elements[i + 1].text));
      i += 1;
    }
  }
  for (const auto& [id, at] : ids) {
    const auto left = transport_.revoke_expires -
                      std::chrono::duration_cast<Milliseconds>(Microseconds{now_us - static_cast<std::int64_t>(at)});
    if (left > Milliseconds{0}) revoked_.push_back({std::string(id), left});
  }
  revoked_seen_ = newest;
}

}  // namespace errand::redis
