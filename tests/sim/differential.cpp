// One operation after the other, at the driver and at its model.
#include "sim/differential.hpp"

#include "testing/prng.hpp"
#include "testing/results_model.hpp"

#include <errand/drivers.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <sstream>
#include <stdexcept>

namespace sim {

using namespace errand;
using namespace errand::testing;

namespace {

constexpr std::size_t kOperations = 50;  // of one sequence
constexpr Milliseconds kLease{60'000};
constexpr std::chrono::hours kLater{1};
constexpr Milliseconds kPatience{10'000};

TimePoint wall_now() { return std::chrono::time_point_cast<TimePoint::duration>(std::chrono::system_clock::now()); }

struct Difference : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Kind {
  publish,
  publish_topic,
  publish_nowhere,
  publish_later,
  fetch,
  settle,
  settle_again,
  commit,
  extend,
  reopen,
  put,
  forget,
  chord_size,
  chord_part,
  group,
  purge,
  dead,
  requeue_dead,
  drop_dead,
  kinds
};
constexpr std::array kNames{"publish", "publish topic", "publish nowhere", "publish later", "fetch",
                            "settle",  "settle again",  "commit",          "extend",        "reopen",
                            "put",     "forget",        "chord size",      "chord part",    "group",
                            "purge",   "dead letters",  "requeue dead",    "drop dead"};
static_assert(kNames.size() == static_cast<std::size_t>(Kind::kinds));
// How often each is drawn.
constexpr std::array kWeights{8, 2, 1, 2, 12, 10, 2, 6, 3, 2, 4, 1, 1, 3, 1, 1, 3, 2, 1};
static_assert(kWeights.size() == kNames.size());

/// One sequence on queues and ids of its own.
class Pair {
 public:
  Pair(const Subject& subject, const std::string& name)
      : flavour_(subject.flavour),
        name_(name),
        broker_(open_broker(subject.url)),
        results_(open_result_backend(subject.url)),
        model_(subject.flavour, wall_now()),
        model_results_(subject.flavour) {
    Topology topology;
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      queues_[i] = name_ + ".q" + std::to_string(i);
      topology.queues.push_back({.name = queues_[i]});
      topology.queues.push_back({.name = queues_[i],
                                 .exchange = name_ + ".topics",
                                 .exchange_type = "topic",
                                 .routing_key = i == 0 ? "a.#" : "*.b"});
    }
    broker_->declare(topology);
    model_.declare(topology);
    for (std::size_t i = 0; i < sides_.size(); ++i) open(i);
  }

  void apply(const Operation& operation) {
    Prng random(operation.chance);
    run(static_cast<Kind>(operation.kind), random);
    for (const std::string& queue : queues_) same_counts(queue);
  }

  /// Whatever still waits comes out in the same order.
  void drain() {
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      while (fetch(i, 100) > 0) continue;
      std::vector<Settlement> real, model;
      for (const Held& held : sides_[i].held) {
        real.push_back({.receipt = held.real.receipt});
        model.push_back({.receipt = held.model.receipt});
      }
      settle(i, real, model);
    }
    for (const std::string& queue : queues_) same_counts(queue);
    for (const TaskId& id : ids_) same_result(id);
  }

 private:
  struct Held {
    Delivery real, model;
  };
  struct Seen {
    std::uint64_t token = 0, life = 0;
  };
  struct Side {
    std::unique_ptr<Consumer> consumer;
    std::string owner, queue;
    std::vector<Held> held;
    std::deque<Held> past;  // settled, or given back
    std::size_t stale = 0;  // of the model
  };

  template <class A, class B>
  static void same(const A& real, const B& model, std::string_view what) {
    if (real == model) return;
    std::ostringstream text;
    text << what << ": the driver says " << real << ", the model " << model;
    throw Difference(text.str());
  }

  void open(std::size_t number) {
    Side& side = sides_[number];
    side.owner = name_ + "/" + std::to_string(++owners_);
    side.queue = queues_[number % queues_.size()];
    side.stale = 0;
    side.consumer = broker_->consume({.queues = {side.queue}, .owner = side.owner, .lease = kLease});
  }

  Envelope envelope(Prng& random) {
    const TaskId id = name_ + ".t" + std::to_string(ids_.size());
    ids_.push_back(id);
    Envelope made;
    made.message.headers = Object{{"id", id}, {"task", "noop"}, {"retries", 0}};
    made.message.body = "[[" + std::to_string(random.below(1000)) + "], {}, {}]";
    made.route = {"", queues_[random.below(queues_.size())]};
    made.priority = static_cast<int>(random.below(10));
    return made;
  }

  void publish(const std::vector<Envelope>& envelopes) {
    const auto attempt = [&](auto&& send) -> std::string {
      try {
        send();
        return "done";
      } catch (const Error& error) {
        return error.kind() == ErrorKind::not_found ? "not found" : error.what();
      }
    };
    const std::string real = attempt([&] { broker_->publish(envelopes); });
    same(real, attempt([&] { model_.publish(envelopes, wall_now()); }), "publish");
  }

  // Asks until as many came as the model gives; they come in the same order.
  std::size_t fetch(std::size_t number, std::size_t most) {
    Side& side = sides_[number];
    const std::vector<Delivery> expected = model_.claim(side.owner, {&side.queue, 1}, most, kLease, wall_now());
    std::vector<Delivery> got;
    const Deadline patience = Deadline::at(std::chrono::steady_clock::now() + kPatience);
    while (got.size() < expected.size() && !patience.passed()) {
      for (Delivery& one : side.consumer->next(most - got.size(), patience)) got.push_back(std::move(one));
    }
    same(got.size(), expected.size(), "deliveries from " + side.queue);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::string id = expected[i].message.headers.at("id").as_text();
      same(got[i].message.headers.at("id").as_text(), id, "the next of " + side.queue);
      same(got[i].message.body, expected[i].message.body, "body of " + id);
      same(got[i].deliveries, expected[i].deliveries, "deliveries of " + id);
      same(got[i].redelivered, expected[i].redelivered, "redelivered of " + id);
      same(got[i].receipt.queue, expected[i].receipt.queue, "queue of " + id);
      // Tokens are the driver's own; that they grow, and whether the message began a new life, is not.
      auto& [real, model] = seen_[{id, side.queue}];
      same(got[i].receipt.token > real.token, expected[i].receipt.token > model.token, "growing token of " + id);
      if (model.token != 0)
        same(got[i].life_token != real.life, expected[i].life_token != model.life, "new life of " + id);
      real = {got[i].receipt.token, got[i].life_token};
      model = {expected[i].receipt.token, expected[i].life_token};
      side.held.push_back({std::move(got[i]), expected[i]});
    }
    return expected.size();
  }

  Held take(Side& side, Prng& random) {
    const auto at = side.held.begin() + static_cast<std::ptrdiff_t>(random.below(side.held.size()));
    Held held = std::move(*at);
    side.held.erase(at);
    side.past.push_back(held);
    if (side.past.size() > 8) side.past.pop_front();
    return held;
  }

  static Settlement settlement(Receipt receipt, Prng random) {
    Settlement made{.receipt = std::move(receipt)};
    switch (random.below(6)) {
      case 0:
        made.kind = Settlement::Kind::requeue;
        break;
      case 1:
        made.kind = Settlement::Kind::park;
        made.not_before = wall_now() + kLater;
        break;
      case 2:
        made.kind = Settlement::Kind::park;
        made.not_before = wall_now() - kLater;
        made.begun = random.chance(0.5);
        break;
      case 3:
        made.kind = Settlement::Kind::dead_letter;
        made.reason = "REJECTED";
        made.detail = "number " + std::to_string(random.below(100));
        break;
      default:
        break;
    }
    return made;
  }

  void heard_late(std::size_t number, std::size_t late) {
    Side& side = sides_[number];
    side.stale += late;
    same(side.consumer->stale(), side.stale, "what came too late");
    const std::size_t lost = side.consumer->take_lost().size();
    // What the consumer has settled itself, and knows to be settled, the one for Redis does not call lost.
    if (lost != 0 || flavour_ == Flavour::sqlite) same(lost, late, "what the consumer lost");
  }

  void settle(std::size_t number, const std::vector<Settlement>& real, const std::vector<Settlement>& model) {
    sides_[number].consumer->settle(real);
    heard_late(number, model_.settle(sides_[number].owner, model, wall_now()).size());
  }

  TaskResult result(const TaskId& id, Prng& random, std::uint64_t token) {
    constexpr std::array kStates{state::started, state::retry, state::success, state::failure, state::revoked};
    TaskResult made;
    made.id = id;
    made.state = std::string(kStates[random.below(kStates.size())]);
    made.result_json = std::to_string(random.below(1000));
    made.token = token;
    made.retries = static_cast<std::uint32_t>(random.below(3));
    if (state::ready(made.state)) made.done_at = wall_now();
    if (random.chance(0.5)) made.extended = TaskResult::Extended{.name = "noop"};
    return made;
  }

  void same_result(const TaskId& id) {
    const auto real = results_->get(id), model = model_results_.get(id);
    same(real.has_value(), model.has_value(), "whether there is a result of " + id);
    if (!real) return;
    same(real->state, model->state, "state of " + id);
    same(real->result_json, model->result_json, "result of " + id);
    same(real->retries, model->retries, "retries of " + id);
  }

  void same_counts(const std::string& queue) {
    const QueueInfo real = broker_->inspect(queue), model = model_.inspect(queue);
    // Parked and due is ready for some; nobody can tell from outside.
    same(real.ready + real.parked, model.ready + model.parked, "waiting in " + queue);
    same(real.leased, model.leased, "handed out from " + queue);
    same(real.dead, model.dead, "dead letters of " + queue);
  }

  std::pair<std::vector<DeadLetter>, std::vector<DeadLetter>> same_letters(const std::string& queue, Prng& random) {
    const std::size_t limit = 1 + random.below(5);
    std::pair letters{broker_->dead_letters(queue, limit, ""), model_.dead_letters(queue, limit, "")};
    same(letters.first.size(), letters.second.size(), "dead letters of " + queue);
    for (std::size_t i = 0; i < letters.first.size(); ++i) {
      const DeadLetter &real = letters.first[i], &model = letters.second[i];
      same(real.task_id, model.task_id, "dead letter " + std::to_string(i) + " of " + queue);
      same(real.reason, model.reason, "reason of " + model.task_id);
      same(real.detail, model.detail, "detail of " + model.task_id);
      same(real.task, model.task, "task of " + model.task_id);
      same(real.deliveries, model.deliveries, "deliveries of dead " + model.task_id);
    }
    return letters;
  }

  void commit(std::size_t number, Prng& random) {
    Side& side = sides_[number];
    std::vector<Settlement> real, model;
    std::vector<std::uint32_t> of;
    std::vector<Envelope> follow_ups;
    std::vector<TaskResult> results;
    const auto add = [&](const Held& held) {
      const Prng choice(random.next());
      real.push_back(settlement(held.real.receipt, choice));
      model.push_back(settlement(held.model.receipt, choice));
      of.push_back(static_cast<std::uint32_t>(real.size() - 1));
      follow_ups.push_back(envelope(random));
      results.push_back(result(held.model.message.headers.at("id").as_text(), random, held.model.receipt.token));
    };
    // One that is settled already is too late: what belongs to it must not happen.
    if (!side.past.empty() && random.chance(0.3)) add(side.past[random.below(side.past.size())]);
    for (std::uint64_t n = 1 + random.below(3); n > 0 && !side.held.empty(); --n) add(take(side, random));
    if (real.empty()) return;
    const Commit batch{follow_ups, results, real, of, of};
    same(side.consumer->commit(batch, results_.get()), true, "whether a commit is one step");
    const std::vector<std::uint32_t> late = model_.late(side.owner, model);
    for (std::uint32_t i = 0; i < model.size(); ++i) {
      if (std::binary_search(late.begin(), late.end(), i)) continue;
      model_.publish({&follow_ups[i], 1}, wall_now());
      model_results_.put(results[i]);
    }
    heard_late(number, model_.settle(side.owner, model, wall_now()).size());
    for (const TaskResult& one : results) same_result(one.id);
  }

  void chord_part(Prng& random) {
    const std::string group = name_ + ".g" + std::to_string(random.below(2));
    ChordPart part;
    part.id = group + ".m" + std::to_string(random.below(4));
    part.state = std::string(random.chance(0.2) ? state::failure : state::success);
    part.result_json = std::to_string(random.below(100));
    part.index = static_cast<std::int64_t>(part.id.back() - '0');
    const ChordProgress real = results_->chord_part_done(group, part),
                        model = model_results_.chord_part_done(group, part);
    same(real.complete, model.complete, "whether " + group + " is complete");
    same(real.failed_member, model.failed_member, "failed member of " + group);
    const auto joined = [](const std::vector<std::string>& all) {
      std::string text;
      for (const std::string& one : all) text += one + " ";
      return text;
    };
    same(joined(real.results), joined(model.results), "results of " + group);
  }

  void run(Kind kind, Prng& random) {
    const std::size_t number = random.below(sides_.size());
    Side& side = sides_[number];
    const std::string& queue = queues_[random.below(queues_.size())];
    switch (kind) {
      case Kind::publish: {
        std::vector<Envelope> batch;
        for (std::uint64_t n = 1 + random.below(4); n > 0; --n) batch.push_back(envelope(random));
        return publish(batch);
      }
      case Kind::publish_topic: {
        Envelope one = envelope(random);
        one.route = {name_ + ".topics", random.chance(0.5) ? "a.b" : "a.c"};
        return publish({one});
      }
      case Kind::publish_nowhere: {
        std::vector<Envelope> batch{envelope(random), envelope(random)};
        batch.back().route = {name_ + ".topics", "nobody.asked.for.it"};
        return publish(batch);
      }
      case Kind::publish_later: {
        Envelope one = envelope(random);
        one.not_before = random.chance(0.5) ? wall_now() + kLater : wall_now() - kLater;
        return publish({one});
      }
      case Kind::fetch:
        fetch(number, 1 + random.below(4));
        return;
      case Kind::settle: {
        std::vector<Settlement> real, model;
        for (std::uint64_t n = 1 + random.below(3); n > 0 && !side.held.empty(); --n) {
          const Held held = take(side, random);
          const Prng choice(random.next());
          real.push_back(settlement(held.real.receipt, choice));
          model.push_back(settlement(held.model.receipt, choice));
        }
        if (!real.empty()) settle(number, real, model);
        return;
      }
      case Kind::settle_again: {
        if (side.past.empty()) return;
        const Held& held = side.past[random.below(side.past.size())];
        const Prng choice(random.next());
        return settle(number, {settlement(held.real.receipt, choice)}, {settlement(held.model.receipt, choice)});
      }
      case Kind::commit:
        return commit(number, random);
      case Kind::extend: {
        std::vector<Receipt> real, model;
        for (const Held& held : side.held) real.push_back(held.real.receipt), model.push_back(held.model.receipt);
        for (const Held& held : side.past) real.push_back(held.real.receipt), model.push_back(held.model.receipt);
        if (real.empty()) return;
        side.consumer->extend(real, kLease);
        return heard_late(number, model_.extend(side.owner, model, kLease, wall_now()).size());
      }
      case Kind::reopen:
        side.consumer.reset();
        model_.bury(side.owner, Return::consumer_closed);
        for (Held& held : side.held) side.past.push_back(std::move(held));
        side.held.clear();
        return open(number);
      case Kind::put: {
        if (ids_.empty()) return;
        const TaskId id = ids_[random.below(ids_.size())];
        const TaskResult one = result(id, random, random.below(6));
        results_->put({&one, 1});
        model_results_.put(one);
        return same_result(id);
      }
      case Kind::forget: {
        if (ids_.empty()) return;
        const TaskId id = ids_[random.below(ids_.size())];
        results_->forget(id);
        model_results_.forget(id);
        return same_result(id);
      }
      case Kind::chord_size: {
        const std::string group = name_ + ".g" + std::to_string(random.below(2));
        const std::size_t size = 2 + random.below(3);
        results_->set_chord_size(group, size);
        return model_results_.set_chord_size(group, size);
      }
      case Kind::chord_part:
        return chord_part(random);
      case Kind::group: {
        // None that a chord counts: a saved chord of groups takes its results from elsewhere, which no model knows.
        const std::string group = name_ + ".saved" + std::to_string(random.below(2));
        const std::vector<TaskId> members{group + ".m0", group + ".m" + std::to_string(random.below(5))};
        results_->put_group(group, members);
        model_results_.put_group(group, members);
        return same(results_->get_group(group) == model_results_.get_group(group), true, "members of " + group);
      }
      case Kind::purge:
        return same(broker_->purge(queue), model_.purge(queue), "purged from " + queue);
      case Kind::dead:
        same_letters(queue, random);
        return;
      case Kind::requeue_dead:
      case Kind::drop_dead: {
        const auto [real, model] = same_letters(queue, random);
        if (real.empty()) return;
        const std::size_t at = random.below(real.size());
        const bool back = kind == Kind::requeue_dead;
        // Twice: the second time nobody finds it.
        for (int i = 0; i < 2; ++i) {
          same(back ? broker_->requeue_dead(queue, {&real[at].id, 1}) : broker_->drop_dead(queue, {&real[at].id, 1}),
               back ? model_.requeue_dead(queue, {&model[at].id, 1}) : model_.drop_dead(queue, {&model[at].id, 1}),
               "found among the dead letters");
        }
        return;
      }
      case Kind::kinds:
        return;
    }
  }

  Flavour flavour_;
  std::string name_;
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<ResultBackend> results_;
  StoreModel model_;
  ResultsModel model_results_;
  std::array<std::string, 2> queues_;
  std::array<Side, 3> sides_;
  std::vector<TaskId> ids_;
  std::map<std::pair<TaskId, std::string>, std::pair<Seen, Seen>> seen_;  // by id and queue: of driver and model
  std::size_t owners_ = 0;
};

}  // namespace

std::string_view name_of(const Operation& operation) { return kNames.at(operation.kind); }

std::vector<Operation> operations_of(std::uint64_t seed) {
  Prng random(seed);
  std::vector<std::size_t> deck;
  for (std::size_t i = 0; i < kWeights.size(); ++i) deck.insert(deck.end(), static_cast<std::size_t>(kWeights[i]), i);
  std::vector<Operation> operations;
  for (std::size_t i = 0; i < kOperations; ++i) operations.push_back({deck[random.below(deck.size())], random.next()});
  return operations;
}

std::string difference(const Subject& subject, const std::vector<Operation>& operations) {
  static std::uint64_t runs = 0;
  try {
    Pair pair(subject, "d" + std::to_string(++runs));
    for (const Operation& operation : operations) pair.apply(operation);
    pair.drain();
  } catch (const Difference& found) {
    return found.what();
  }
  return "";
}

}  // namespace sim
