// Consumer::commit: follow-ups, results and settlements of a batch in one step, or not at all.
#include "conformance/backend_context.hpp"
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include "core/uuid.hpp"

#include <algorithm>

namespace errand::conformance {

namespace {

TaskResult success_of(const Delivery& delivery) {
  return BackendContext::record(delivery.message.headers.at("id").as_text(), state::success, "42",
                                delivery.receipt.token);
}

void all_of_it(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const std::string next = c.fresh_queue();
  auto results = c.results();
  c.publish(queue, "a");
  c.publish(queue, "b");
  auto consumer = c.consumer(queue);
  const auto held = c.take(*consumer, 2);
  const std::vector<Envelope> follow_ups{c.envelope(next, "follows")};
  const std::vector<TaskResult> outcomes{success_of(held[0])};
  Settlement dead = c.settle(held[1], Settlement::Kind::dead_letter);
  dead.reason = "CHECK";
  const std::vector<Settlement> settlements{c.settle(held[0]), dead};
  const bool done = consumer->commit({follow_ups, outcomes, settlements}, results.get());
  const bool stored = results->get(outcomes[0].id).has_value();
  const QueueInfo info = c.broker().inspect(queue);
  if (!done) {
    require(!stored && c.broker().inspect(next).ready == 0 && info.dead == 0, "a commit that says no has done nothing");
    c.ack(*consumer, held);
    throw Skipped{"this pair commits step by step"};
  }
  require(stored, "the result is stored");
  require_equal(state::success, results->get(outcomes[0].id)->state, "the result has its state");
  results->forget(outcomes[0].id);
  require_equal(1, info.dead, "the settlements are done");
  require_equal(0, info.ready + info.leased, "the settlements are done");
  auto follower = c.consumer(next);
  const Delivery follow = c.take_one(*follower);
  require_equal("follows", body(follow), "the follow-up is sent");
  c.ack(*follower, follow);
}

void wakes_waiters(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const std::string next = c.fresh_queue();
  auto results = c.results();
  auto waiting_results = c.results();
  c.publish(queue, "a");
  auto consumer = c.consumer(queue);
  const Delivery held = c.take_one(*consumer);
  const std::vector<Envelope> follow_ups{c.envelope(next, "follows")};
  const std::vector<TaskResult> outcomes{success_of(held)};
  const std::vector<Settlement> settlements{c.settle(held)};
  auto other = c.another();
  auto follower = other->consume(c.consume_options({next}));
  bool done = false;
  std::optional<TaskResult> seen;
  at_once({[&] { seen = waiting_results->wait(outcomes[0].id, c.soon()); },
           [&] {
             const auto got = follower->next(1, c.soon());
             c.ack(*follower, got);
           },
           [&] {
             done = consumer->commit({follow_ups, outcomes, settlements}, results.get());
             if (done) return;
             c.broker().publish(follow_ups);
             results->put(outcomes);
             consumer->settle(settlements);
           }});
  results->forget(outcomes[0].id);
  if (!done) throw Skipped{"this pair commits step by step"};
  require(seen.has_value(), "a commit wakes those who wait for the result");
  require_equal(0, c.broker().inspect(next).ready, "a commit wakes those who wait for the follow-up");
}

void late_receipt(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  auto consumer = c.consumer(queue);
  const Delivery held = c.take_one(*consumer);
  c.ack(*consumer, held);
  const std::vector<Settlement> settlements{c.settle(held)};
  if (!consumer->commit({{}, {}, settlements}, nullptr)) throw Skipped{"this driver commits step by step"};
  require_equal(1, consumer->stale(), "a late settlement in a commit is skipped and counted");
}

// A worker that stood still longer than its lease wakes up with an outcome. Somebody else has the message by then.
void late_outcome(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const std::string next = c.fresh_queue();
  auto results = c.results();
  c.publish(queue, "a");
  c.publish(queue, "b");
  auto late = c.consumer(queue, c.kShortLease);
  const auto held = c.take(*late, 2);
  auto other = c.another();
  auto second = other->consume(c.consume_options({queue}));
  const auto again = c.take(*second, 2);
  c.publish(queue, "c");
  const Delivery mine = c.take_one(*late);
  const std::vector<Envelope> follow_ups{c.envelope(next, "late"), c.envelope(next, "in time"),
                                         c.envelope(next, "free")};
  const std::vector<TaskResult> outcomes{success_of(held[0]), success_of(mine)};
  Settlement dead = c.settle(held[1], Settlement::Kind::dead_letter);
  dead.reason = "CHECK";
  const std::vector<Settlement> settlements{c.settle(held[0]), dead, c.settle(mine)};
  const std::vector<std::uint32_t> follow_ups_of{0, 2, Commit::kFree}, results_of{0, 2};
  c.publish(queue, "d");  // a commit that fetches as well is fenced like any other
  const bool done = late->commit({follow_ups, outcomes, settlements, follow_ups_of, results_of, 1}, results.get());
  const Delivery fetched = c.take_one(*late);
  require_equal("d", body(fetched), "what is fetched is a message that was free");
  c.ack(*late, fetched);
  if (!done) {
    c.ack(*late, mine);
    c.ack(*second, again);
    throw Skipped{"this pair commits step by step"};
  }
  require(!results->get(outcomes[0].id).has_value(), "the result of a late holder is not stored");
  require(results->get(outcomes[1].id).has_value(), "what was in time is stored");
  require_equal(2, late->stale(), "what came too late is counted");
  require_equal(0, c.broker().inspect(queue).dead, "a late holder makes no dead letter");
  auto follower = c.consumer(next);
  const auto sent = c.take(*follower, 2);
  require_equal("in time", body(sent[0]), "the follow-ups of a late holder are not sent, the others are");
  require_equal("free", body(sent[1]), "what belongs to no delivery is sent");
  c.ack(*follower, sent);
  c.nothing_comes(*follower, c.kAWhile, "the follow-up of a late holder is not sent");
  results->forget(outcomes[1].id);
  c.ack(*second, again);
  require_equal(0, second->stale(), "the message is its new holder's");
}

void oversize_follow_up(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  auto consumer = c.consumer(queue);
  const Delivery held = c.take_one(*consumer);
  const std::vector<Envelope> follow_ups{c.envelope(queue, std::string(c.traits().max_message_bytes + 1, 'x'))};
  const std::vector<Settlement> settlements{c.settle(held)};
  bool said_no = false;
  try {
    said_no = !consumer->commit({follow_ups, {}, settlements}, nullptr);
    require(said_no, "a follow-up over the limit is refused");
  } catch (const Error& error) {
    require(error.kind() == ErrorKind::invalid, "the refusal is of kind invalid");
  }
  // Nothing was settled: the message is still ours.
  c.ack(*consumer, held);
  require_equal(0, consumer->stale(), "a refused commit has settled nothing");
  require_equal(0, c.broker().inspect(queue).ready, "a refused commit has sent nothing");
  if (said_no) throw Skipped{"this driver commits step by step"};
}

// The hint may be ignored; what it brings may neither be lost nor come twice.
void fetches_next(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto results = c.results();
  for (const char* text : {"a", "b", "c", "d"}) c.publish(queue, text);
  auto consumer = c.consumer(queue);
  const Delivery first = c.take_one(*consumer);
  const std::vector<Settlement> settlements{c.settle(first)};
  if (!consumer->commit({.settlements = settlements, .then_fetch = 2}, results.get())) {
    c.ack(*consumer, first);
    throw Skipped{"this pair commits step by step"};
  }
  const std::size_t ahead = consumer->fetched();
  require(ahead == 0 || ahead == 2, "a commit fetches as many as it was asked to, or none");
  if (ahead == 0) {
    c.ack(*consumer, c.take(*consumer, 3));
    throw Skipped{"commits of this driver fetch nothing"};
  }
  consumer->wake();
  const auto got = consumer->next(0, c.soon());
  require_equal(2, got.size(), "what was fetched comes first, whatever is asked for");
  require_equal("b", body(got[0]), "what was fetched comes in its order");
  const std::vector<Delivery> handed(got.begin(), got.end());
  require_equal(0, consumer->fetched(), "what was fetched comes once");
  const Deadline limit = c.soon();
  require(consumer->next(0, limit).empty() && !limit.passed(), "a wake() that came before is not forgotten over it");
  c.ack(*consumer, handed);
  const Delivery last = c.take_one(*consumer);
  require_equal("d", body(last), "nothing comes twice");
  c.ack(*consumer, last);
}

// Only what somebody has seen may count towards a limit of deliveries.
void fetched_for_nothing(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  Envelope waits = c.envelope(queue, "waits"), urgent = c.envelope(queue, "urgent");
  (c.traits().low_is_urgent ? waits : urgent).priority = 9;
  c.broker().publish(std::vector{waits});
  constexpr int kTimes = 2;
  for (int i = 0; i < kTimes; ++i) {
    c.broker().publish(std::vector{urgent});
    auto consumer = c.consumer(queue);
    const Delivery first = c.take_one(*consumer);
    require_equal("urgent", body(first), "what is urgent comes first");
    const std::vector<Settlement> settlements{c.settle(first)};
    if (!consumer->commit({.settlements = settlements, .then_fetch = 1}, nullptr)) c.ack(*consumer, first);
    if (consumer->fetched() == 0) throw Skipped{"commits of this driver fetch nothing"};
  }
  auto consumer = c.consumer(queue);
  const Delivery back = c.take_one(*consumer);
  require_equal("waits", body(back), "what was fetched and never handed out goes back with its consumer, at once");
  require_equal(2, back.deliveries, "what nobody has seen is a redelivery, once");
  c.ack(*consumer, back);
}

// Whoever takes messages by the way has to hear of revokes as if they had been asked for.
void fetches_and_learns(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  for (const char* text : {"a", "b"}) c.publish(queue, text);
  auto consumer = c.consumer(queue);
  const Delivery first = c.take_one(*consumer);
  consumer->take_revoked();
  const TaskId id = core::uuid4();
  c.another()->revoke(std::vector{id});
  const std::vector<Settlement> settlements{c.settle(first)};
  if (!consumer->commit({.settlements = settlements, .then_fetch = 1}, nullptr)) c.ack(*consumer, first);
  c.ack(*consumer, c.take_one(*consumer));
  const auto told = consumer->take_revoked();
  require(std::any_of(told.begin(), told.end(), [&](const RevokedTask& one) { return one.id == id; }),
          "what was revoked before a message was taken along is known with it");
}

// Far more than a busy machine needs, and less than any look from time to time.
constexpr std::chrono::seconds kDueWithin{5};

// The look by the way may have been before the commit's own messages were there.
void fetches_before_it_sends(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  c.publish(queue, "a");
  auto consumer = c.consumer(queue);
  const Delivery first = c.take_one(*consumer);
  std::vector<Envelope> follow_ups{c.envelope(queue, "later")};
  follow_ups[0].not_before = BrokerContext::wall() + c.kAWhile;
  const std::vector<Settlement> settlements{c.settle(first)};
  if (!consumer->commit({.follow_ups = follow_ups, .settlements = settlements, .then_fetch = 1}, nullptr)) {
    c.ack(*consumer, first);
    throw Skipped{"this driver commits step by step"};
  }
  const auto begin = std::chrono::steady_clock::now();
  const Delivery later = c.take_one(*consumer);
  require_equal("later", body(later), "what a commit has parked comes");
  require(std::chrono::steady_clock::now() - begin < kDueWithin, "what a commit has parked comes when it is due");
  c.ack(*consumer, later);
}

constexpr BrokerCheck kRows[] = {
    {"commit.together", "follow-ups, results and settlements of a batch are done in one call, or nothing is", nullptr,
     all_of_it},
    {"commit.wakes", "a commit wakes those who wait for its results and follow-ups", nullptr, wakes_waiters},
    {"commit.late", "a settlement in a commit that came too late is skipped and counted", nullptr, late_receipt},
    {"commit.fenced", "a holder that comes too late stores no result and sends no follow-up",
     [](const BrokerTraits& t) { return t.lease.has_value(); }, late_outcome},
    {"commit.fetches", "what a commit has fetched comes first, in its order, and once", nullptr, fetches_next},
    {"commit.fetches-first", "a commit that fetches does not overlook what it parks itself",
     [](const BrokerTraits& t) { return t.parks; }, fetches_before_it_sends},
    {"commit.fetches-back", "what a commit has fetched goes back, uncounted, when its consumer ends before it came",
     [](const BrokerTraits& t) { return t.priorities; }, fetched_for_nothing},
    {"commit.fetches-revokes", "a revoke is known with the messages that a commit has fetched after it",
     [](const BrokerTraits& t) { return t.keeps_revokes; }, fetches_and_learns},
    {"commit.refused", "a commit that is refused leaves everything as it was",
     [](const BrokerTraits& t) { return t.max_message_bytes != 0; }, oversize_follow_up},
};

}  // namespace

std::span<const BrokerCheck> commit_rows() { return kRows; }

}  // namespace errand::conformance
