// Simulation: what users see of a simulated world.
#include <errand/testing.hpp>

#include "core/log.hpp"
#include "core/uuid.hpp"
#include "protocol/signature_json.hpp"
#include "protocol/task_message.hpp"
#include "testing/cluster.hpp"
#include "testing/nemesis.hpp"
#include "testing/node.hpp"
#include "testing/producer.hpp"
#include "value/key_hash.hpp"

#include <errand/error.hpp>

#include <thread>

namespace errand::testing {

namespace {

constexpr std::size_t kTraceInError = 60;
constexpr std::chrono::hours kMostWrong{1};  // of one step of a clock; there may be several
// More events than this without an end are a world that spins.
constexpr std::uint64_t kMostEvents = 50'000'000;

// What a process draws once must not be drawn from a seed, or the first world would have another history than the next.
log::Level before_seeding() {
  static_cast<void>(value::key_hash({}));
  for (const log::Level level : {log::Level::debug, log::Level::info, log::Level::warning, log::Level::error}) {
    if (log::enabled(level)) return level;
  }
  return log::Level::off;
}

SimulationOptions checked(SimulationOptions options) {
  const auto wrong = [](std::string what, std::string detail) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "simulation",
                 .subject = std::move(what),
                 .detail = std::move(detail)});
  };
  if (options.workers == 0 || options.workers > 64)
    wrong("workers", "expected 1 to 64, got " + std::to_string(options.workers));
  if (options.worker.concurrency == 0) options.worker.concurrency = 2;
  options.worker.queues = {QueueSpec{.name = options.queue}};
  return options;
}

}  // namespace

std::string_view to_string(Fault fault) noexcept {
  switch (fault) {
    case Fault::worker_crash:
      return "worker_crash";
    case Fault::crash_in_step:
      return "crash_in_step";
    case Fault::pause:
      return "pause";
    case Fault::store_away:
      return "store_away";
    case Fault::store_overloaded:
      return "store_overloaded";
    case Fault::lost_answer:
      return "lost_answer";
    case Fault::slow_network:
      return "slow_network";
    case Fault::clock_step:
      return "clock_step";
    case Fault::clock_drift:
      return "clock_drift";
    case Fault::duplicate_message:
      return "duplicate_message";
    case Fault::child_crash:
      return "child_crash";
    case Fault::late_reports:
      return "late_reports";
    case Fault::revoke:
      return "revoke";
    case Fault::rolling_restart:
      return "rolling_restart";
    case Fault::hard_stop:
      return "hard_stop";
    case Fault::foreign_worker:
      return "foreign_worker";
    case Fault::put_back:
      return "put_back";
  }
  return "";
}

std::string_view to_string(Store store) noexcept {
  return store == Store::sqlite ? "sqlite" : store == Store::redis ? "redis" : "separate";
}

struct Simulation::Impl {
  Impl(const Registry& registry, SimulationOptions options)
      : level(before_seeding()),
        seeded(options.seed),
        cluster(registry, checked(std::move(options))),
        nemesis(cluster) {
    if (cluster.options.quiet) log::set_level(log::Level::off);
    for (std::size_t i = 0; i < cluster.options.workers; ++i) {
      cluster.nodes.push_back(std::make_unique<Node>(cluster, i));
      cluster.nodes.back()->start();
    }
    true_clock = std::make_shared<Host>(cluster.world);
    nemesis.begin();
  }
  ~Impl() {
    if (cluster.options.quiet) log::set_level(level);
  }

  Node& node(std::size_t number) {
    if (number < cluster.nodes.size()) return *cluster.nodes[number];
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "simulation",
                 .subject = "worker " + std::to_string(number),
                 .detail = "expected one of " + std::to_string(cluster.nodes.size()) + " workers, counted from 0"});
  }

  void step() {
    if (!cluster.world.step())
      throw Error({.kind = ErrorKind::bug, .operation = "simulation", .detail = "nothing will ever happen again"});
    if (cluster.world.events() > kMostEvents) cluster.ledger.broken("I15", "the world spins: 50 million events");
    if (!cluster.ledger.verdict().empty()) fail();
  }

  [[noreturn]] void fail() const {
    std::string text = cluster.ledger.verdict() + "\nseed " + std::to_string(cluster.options.seed) + ", " +
                       std::to_string(cluster.options.workers) + " workers, store " +
                       std::string(to_string(cluster.options.store));
    const auto& lines = cluster.world.trace().kept();
    for (std::size_t i = lines.size() - std::min(lines.size(), kTraceInError); i < lines.size(); ++i)
      text += "\n  " + lines[i];
    throw BrokenPromise(text);
  }

  bool quiet() const {
    if (!nemesis.healed() || !cluster.producer->idle() || pending_sends > 0 || cluster.ledger.owes()) return false;
    for (const auto& [number, item] : cluster.store.items()) {
      if (item.state != Item::State::dead) return false;
    }
    return true;
  }

  void send_through(Producer::Make make) {
    bool done = false;
    std::optional<Error> failure;
    cluster.producer->send(std::move(make), [&](const Error* error) {
      done = true;
      if (error != nullptr) failure = *error;
    });
    while (!done) step();
    if (failure) throw Error(*failure);
  }

  log::Level level;
  core::SeededRandom seeded;
  Cluster cluster;
  Nemesis nemesis;
  std::shared_ptr<Host> true_clock;
  std::size_t pending_sends = 0;
};

Simulation::Simulation(const Registry& registry, SimulationOptions options)
    : impl_(std::make_unique<Impl>(registry, std::move(options))) {}
Simulation::~Simulation() = default;

TaskId Simulation::send(Signature call) {
  const TaskId id = protocol::freeze(call);
  impl_->send_through([&] { return std::vector<Signature>{call}; });
  return id;
}

TaskId Simulation::send_chord(std::vector<Signature> members, Signature body) {
  const std::string group = core::uuid4();
  protocol::freeze(body);
  std::vector<TaskId> ids;
  std::int64_t index = 0;
  for (Signature& member : members) {
    member.options.group_id = group;
    member.options.group_index = index++;
    ids.push_back(protocol::freeze(member));
  }
  impl_->cluster.ledger.chord(group, ids, body.options.task_id);
  bool done = false;
  std::optional<Error> failure;
  impl_->cluster.producer->send_chord(group, std::move(members), body, [&](const Error* error) {
    done = true;
    if (error != nullptr) failure = *error;
  });
  while (!done) impl_->step();
  if (failure) throw Error(*failure);
  return body.options.task_id;
}

void Simulation::send_after(std::chrono::nanoseconds wait, std::function<Signature()> make) {
  impl_->pending_sends += 1;
  impl_->cluster.world.after(wait, [this, make = std::move(make)] {
    impl_->pending_sends -= 1;
    impl_->cluster.producer->send([make] { return std::vector<Signature>{make()}; }, {});
  });
}

void Simulation::revoke(const TaskId& id, bool terminate) {
  for (const auto& node : impl_->cluster.nodes) node->revoke(id, terminate, false);
}

void Simulation::run_for(std::chrono::nanoseconds time) {
  World& world = impl_->cluster.world;
  bool over = false;
  world.after(time, [&over] { over = true; });
  while (!over) impl_->step();
}

void Simulation::run_until_quiet() {
  Cluster& cluster = impl_->cluster;
  while (!impl_->nemesis.healed()) impl_->step();
  // A clock that was wrong made times that are wrong by as much: what it parked comes later.
  const bool wrong_clocks = (cluster.options.faults & (bit(Fault::clock_step) | bit(Fault::clock_drift))) != 0;
  const SteadyPoint limit =
      cluster.world.now() + cluster.options.heal_within + (wrong_clocks ? 12 * kMostWrong : kMostWrong.zero());
  while (!impl_->quiet()) {
    impl_->step();
    if (cluster.world.now() <= limit) continue;
    std::string left;
    for (const auto& [number, item] : cluster.store.items()) {
      if (item.state == Item::State::dead) continue;
      left += (left.empty() ? "" : ", ") + item.task_id +
              (item.state == Item::State::leased   ? " held by " + item.owner
               : item.state == Item::State::parked ? " parked"
                                                   : " ready");
      if (left.size() > 400) break;
    }
    cluster.ledger.broken("I15", "after healing something has not ended: " + (left.empty() ? "a send" : left));
    impl_->fail();
  }
  // Reports on their way, renewals and sweeps: whatever is still to come must not undo anything.
  run_for(std::chrono::seconds(5));
  cluster.ledger.judge();
  if (!cluster.ledger.verdict().empty()) impl_->fail();
}

std::optional<TaskResult> Simulation::result(TaskIdView id) const { return impl_->cluster.results.get(id); }

std::vector<DeadLetter> Simulation::dead_letters() const {
  return impl_->cluster.store.dead_letters(impl_->cluster.options.queue, SIZE_MAX, "");
}

const std::vector<Run>& Simulation::runs() const { return impl_->cluster.ledger.runs(); }
void Simulation::crash_worker(std::size_t worker) { impl_->node(worker).crash("by hand", false); }
void Simulation::start_worker(std::size_t worker) { impl_->node(worker).start(); }
void Simulation::stop_worker(std::size_t worker, StopKind kind) { impl_->node(worker).stop(kind, false); }
void Simulation::pause_worker(std::size_t worker, std::chrono::nanoseconds time) { impl_->node(worker).pause(time); }
bool Simulation::worker_lives(std::size_t worker) const { return impl_->node(worker).lives(); }
void Simulation::take_store_away(std::chrono::nanoseconds time) {
  impl_->cluster.away_until = impl_->cluster.world.now() + time;
}

const Clock& Simulation::clock() const { return *impl_->true_clock; }
std::string Simulation::trace_hash() const { return impl_->cluster.world.trace().hash(); }
std::vector<std::string> Simulation::trace() const {
  const auto& lines = impl_->cluster.world.trace().kept();
  return {lines.begin(), lines.end()};
}
void Simulation::on_trace(std::function<void(const std::string&)> listener) {
  impl_->cluster.world.trace().listener = std::move(listener);
}
const std::map<std::string, std::uint64_t, std::less<>>& Simulation::counters() const {
  return impl_->cluster.world.counters();
}
std::uint64_t Simulation::events() const { return impl_->cluster.world.events(); }

void rest(std::chrono::nanoseconds time) {
  if (Strand* const strand = Strand::current()) {
    strand->sleep_until(strand->world().now() + time);
  } else {
    std::this_thread::sleep_for(time);
  }
}

bool rest(TaskContext& task, std::chrono::nanoseconds time) {
  Strand* const strand = Strand::current();
  constexpr Milliseconds kLook{50};
  if (strand == nullptr) {
    const SteadyPoint until = std::chrono::steady_clock::now() + time;
    for (;;) {
      const auto left = until - std::chrono::steady_clock::now();
      if (left <= left.zero()) return true;
      if (task.should_stop()) return false;
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(left, kLook));
    }
  }
  const SteadyPoint until = strand->world().now() + time;
  while (strand->world().now() < until) {
    if (task.should_stop()) return false;
    strand->wait_until(until);
  }
  return true;
}

}  // namespace errand::testing
