#include "testing/nemesis.hpp"

#include "testing/node.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <array>

namespace errand::testing {

namespace {

constexpr Milliseconds kSoonest{200}, kLatest{9'000};  // between two strikes
// Those that strike at a moment; the others are drawn at every step (Link, SimPool).
constexpr std::array kStrikes{Fault::worker_crash,      Fault::pause,       Fault::store_away,
                              Fault::store_overloaded,  Fault::clock_step,  Fault::clock_drift,
                              Fault::duplicate_message, Fault::child_crash, Fault::revoke,
                              Fault::rolling_restart,   Fault::hard_stop,   Fault::foreign_worker,
                              Fault::put_back};

}  // namespace

void Nemesis::begin() {
  if (cluster_.options.faults == no_faults()) return;
  healed_ = false;
  cluster_.faults_on = true;
  World& world = cluster_.world;
  world.after(cluster_.options.faults_for, [this] { heal(); });
  world.after(Milliseconds{world.random().between(kSoonest.count(), kLatest.count())}, [this] { strike(); });
}

void Nemesis::strike() {
  if (healed_) return;
  World& world = cluster_.world;
  std::vector<Fault> possible;
  for (const Fault fault : kStrikes) {
    if (cluster_.faulty(fault)) possible.push_back(fault);
  }
  if (!possible.empty()) one(possible[world.random().below(possible.size())]);
  world.after(Milliseconds{world.random().between(kSoonest.count(), kLatest.count())}, [this] { strike(); });
}

Node& Nemesis::anyone() { return *cluster_.nodes[cluster_.world.random().below(cluster_.nodes.size())]; }

void Nemesis::one(Fault fault) {
  World& world = cluster_.world;
  Prng& random = world.random();
  const Milliseconds lease = cluster_.options.worker.lease;
  Node& node = anyone();
  switch (fault) {
    case Fault::worker_crash:
      if (!node.lives()) return;
      cluster_.inject(fault, node.name());
      node.crash("at a random moment", true);
      return;
    case Fault::pause: {
      if (!node.lives()) return;
      cluster_.inject(fault, node.name());
      node.pause(Milliseconds{random.chance(0.5) ? random.between(100, lease.count() / 2)
                                                 : random.between(lease.count(), lease.count() * 2)});
      return;
    }
    case Fault::store_away:
      cluster_.inject(fault, "store");
      cluster_.away_until =
          world.now() + Milliseconds{random.chance(0.7) ? random.between(100, 5'000) : random.between(5'000, 90'000)};
      return;
    case Fault::store_overloaded:
      cluster_.inject(fault, "store");
      cluster_.overloaded_until = world.now() + Milliseconds{random.between(100, 30'000)};
      return;
    case Fault::clock_step: {
      Host& host = cluster_.options.store == Store::sqlite ? *cluster_.machine : node.host();
      cluster_.inject(fault, node.name());
      host.step_wall(Milliseconds{random.between(-3'600'000, 3'600'000)});
      // A file has no clock of its own: its leases are those of the machine.
      if (cluster_.options.store == Store::sqlite) {
        for (const auto& each : cluster_.nodes) {
          if (each->lives()) each->process()->trouble_at = world.now() + std::chrono::hours(2);
        }
      }
      return;
    }
    case Fault::clock_drift: {
      Host& host = cluster_.options.store == Store::sqlite ? *cluster_.machine : node.host();
      cluster_.inject(fault, node.name());
      host.drift(random.between(-1'000'000, 1'000'000) / 2);
      if (cluster_.options.store == Store::sqlite) {
        for (const auto& each : cluster_.nodes) {
          if (each->lives()) each->process()->trouble_at = world.now() + std::chrono::hours(2);
        }
      }
      return;
    }
    case Fault::duplicate_message:
      duplicate();
      return;
    case Fault::child_crash:
      if (node.crash_child()) cluster_.inject(fault, node.name());
      return;
    case Fault::revoke:
      revoke_something();
      return;
    case Fault::rolling_restart:
      if (!node.lives()) return;
      cluster_.inject(fault, node.name());
      node.stop(StopKind::warm, true);
      return;
    case Fault::hard_stop:
      if (!node.lives()) return;
      cluster_.inject(fault, node.name());
      node.stop(random.chance(0.5) ? StopKind::cold : StopKind::soft, true);
      return;
    case Fault::foreign_worker:
      foreign_worker();
      return;
    case Fault::put_back:
      put_back();
      return;
    default:
      return;
  }
}

void Nemesis::duplicate() {
  std::vector<const Item*> waiting;
  for (const auto& [number, item] : cluster_.store.items()) {
    if (item.state == Item::State::ready && !item.task_id.empty()) waiting.push_back(&item);
  }
  if (waiting.empty()) return;
  const Item& item = *waiting[cluster_.world.random().below(waiting.size())];
  cluster_.inject(Fault::duplicate_message, "store");
  cluster_.ledger.excuse(item.task_id, "the broker had it twice");
  const Envelope again{.route = {"", item.queue}, .message = item.message};
  cluster_.store.publish({&again, 1}, cluster_.world.wall());
  cluster_.news();
}

// Anything that has not ended, preferably what a worker holds.
void Nemesis::revoke_something() {
  std::vector<TaskId> ids, held;
  for (const auto& [number, item] : cluster_.store.items()) {
    if (item.state != Item::State::dead && !item.task_id.empty()) ids.push_back(item.task_id);
    if (item.state == Item::State::leased && !item.task_id.empty()) held.push_back(item.task_id);
  }
  if (ids.empty()) return;
  Prng& random = cluster_.world.random();
  if (!held.empty() && random.chance(0.5)) ids = std::move(held);
  const TaskId id = ids[random.below(ids.size())];
  const bool terminate = random.chance(0.5);
  cluster_.inject(Fault::revoke, id);
  const bool kill = random.chance(0.3);
  for (const auto& node : cluster_.nodes) {
    cluster_.world.after(Milliseconds{random.between(0, 40)},
                         [&node = *node, id, terminate, kill] { node.revoke(id, terminate, kill); });
  }
}

void Nemesis::put_back() {
  const std::string& queue = cluster_.options.queue;
  const std::vector<DeadLetter> letters = cluster_.store.dead_letters(queue, SIZE_MAX, "");
  if (letters.empty()) return;
  std::vector<std::string> ids;
  for (const DeadLetter& letter : letters) ids.push_back(letter.id);
  if (cluster_.world.random().chance(0.5)) ids = {ids[cluster_.world.random().below(ids.size())]};  // else all of them
  cluster_.inject(Fault::put_back, "operator");
  cluster_.store.requeue_dead(queue, ids);
  cluster_.news();
}

// A worker of Python's: takes one message without a lease, runs it for a while, stores and acknowledges; or dies.
void Nemesis::foreign_worker() {
  if (cluster_.options.store != Store::redis) return;
  cluster_.inject(Fault::foreign_worker, "python");
  auto host = std::make_shared<Host>(cluster_.world);
  host->step_wall(Milliseconds{cluster_.world.random().between(-500, 500)});
  auto process = std::make_shared<Process>(
      Process{.cluster = cluster_, .name = "python#" + std::to_string(++foreigners_), .host = host});
  process->owner = process->name;
  foreign_.push_back(cluster_.world.spawn(host, [this, process] {
    World& world = cluster_.world;
    std::vector<Delivery> got =
        cluster_.store.claim_foreign(process->owner, cluster_.options.queue, 2, process->host->now());
    for (Delivery& delivery : got) {
      cluster_.mark(delivery);
      const Value* id = delivery.message.headers.find("id");
      cluster_.ledger.foreign_began(*process, delivery);
      Strand::current()->sleep_until(world.now() + Milliseconds{world.random().between(10, 4'000)});
      if (world.random().chance(0.15)) {
        world.note(process->name, "dies");
        return;
      }
      TaskResult result;
      result.id = id == nullptr || id->if_text() == nullptr ? TaskId() : *id->if_text();
      result.state = std::string(state::success);
      result.done_at = process->host->now();
      cluster_.ledger.foreign_ended(result.id);
      cluster_.results.put(result);
      Strand::current()->sleep_until(world.now() + Milliseconds{1});
      cluster_.store.ack_foreign(delivery.receipt);
    }
  }));
}

void Nemesis::heal() {
  World& world = cluster_.world;
  cluster_.faults_on = false;
  healed_ = true;
  healed_at_ = world.now();
  world.note("world", "heals");
  cluster_.away_until = cluster_.overloaded_until = world.now();
  cluster_.machine->true_time();
  for (const auto& node : cluster_.nodes) {
    node->host().true_time();
    if (node->process() != nullptr) node->process()->trouble_at = world.now();
    node->start();
  }
}

}  // namespace errand::testing
