#include "testing/node.hpp"

#include "core/uuid.hpp"
#include "testing/cluster.hpp"
#include "testing/sim_pool.hpp"
#include "worker/loop.hpp"

#include <errand/error.hpp>

namespace errand::testing {

Node::Node(Cluster& cluster, std::size_t number)
    : cluster_(cluster),
      name_("w" + std::to_string(number)),
      // One file is used from one machine, whose clock is everybody's.
      host_(std::make_shared<Host>(cluster.world)) {
  if (cluster.options.store == Store::sqlite) host_->follow(cluster.machine);
}

Node::~Node() { shut_down(); }

void Node::shut_down() {
  over_ = true;
  if (process_) process_->alive = false;
  if (strand_ && !strand_->done()) strand_->kill();
  strand_.reset();
}

void Node::start() {
  if (lives() || over_) return;
  stop_asked_.reset();
  again_ = false;
  host_->pause_until(SteadyPoint::min());
  process_ = std::make_shared<Process>(
      Process{.cluster = cluster_, .name = name_ + "#" + std::to_string(++lives_), .host = host_});
  process_->trouble_at = cluster_.world.now();
  process_->die = [this](std::string_view why) { crash(why, true); };
  cluster_.world.note(process_->name, "starts");
  strand_ = cluster_.world.spawn(host_, [this, process = process_] { life(process); });
}

void Node::start_again() {
  cluster_.world.after(Milliseconds{cluster_.world.random().between(100, 8'000)}, [this] { start(); });
}

// The real parts in the real order; see src/worker/worker.cpp.
void Node::life(const std::shared_ptr<Process>& process) {
  const WorkerOptions& o = cluster_.options.worker;
  int exit_code = 69;
  try {
    SimBroker broker(process);
    const BrokerTraits traits = broker.traits();
    worker::Inbox inbox;
    process->inbox = &inbox;
    PoolOptions pool_options;
    pool_options.concurrency = o.concurrency;
    pool_options.extended_results = o.result_extended;
    pool_options.typed_json = o.typed_json.value_or(!traits.foreign_readers);
    pool_options.max_result_bytes = o.max_result_bytes;
    pool_options.hostname = name_;
    SimPool pool(process, pool_options, cluster_.world.random().below(o.concurrency + 1));
    pool_ = &pool;
    worker::InboxSink sink(inbox);
    pool.start(cluster_.registry, sink);
    SimBackend results(process);
    broker.declare(Topology{o.queues});
    ConsumeOptions consume;
    for (const QueueSpec& queue : o.queues) consume.queues.push_back(queue.name);
    consume.owner = name_ + "/" + core::uuid4();
    consume.lease = o.lease;
    const std::unique_ptr<Consumer> consumer = broker.consume(consume);
    WorkerOptions named = o;
    named.node_name = name_;
    worker::Engine engine(worker::engine_options(named, traits, true), cluster_.registry);
    const worker::Systemd systemd;
    worker::Loop loop(
        {.lease = o.lease, .stop_after = o.stop_after, .stop_when_idle = o.stop_when_idle, .queues = consume.queues},
        engine, broker, *consumer, &results, pool, inbox, systemd, *host_);
    if (process->stopping) inbox.post(worker::StopRequested{stop_kind_});
    exit_code = loop.run();
    process->inbox = nullptr;
  } catch (const Error& error) {
    process->inbox = nullptr;
    pool_ = nullptr;
    if (error.kind() != ErrorKind::unavailable && error.kind() != ErrorKind::overloaded &&
        error.kind() != ErrorKind::in_doubt) {
      cluster_.ledger.broken("I15", process->name + " ended with: " + error.what());
    }
    cluster_.world.note(process->name, std::string("gave up: ") + error.what());
    again_ = true;  // as its service manager does
  } catch (const Killed&) {
    process->inbox = nullptr;
    pool_ = nullptr;
    if (!over_ && process == process_ && process->alive) buried(process);
    throw;
  }
  pool_ = nullptr;
  process->alive = false;
  cluster_.ledger.gone(*process);
  cluster_.world.note(process->name, "ends with " + std::to_string(exit_code));
  cluster_.world.count("effect.halt." + std::to_string(exit_code));
  if (cluster_.options.store == Store::sqlite) cluster_.dead_owners.insert(process->owner);
  if (stop_asked_) cluster_.ledger.worker_gone(*process, stop_kind_ == StopKind::warm, *stop_asked_);
  if (again_) start_again();
}

void Node::buried(const std::shared_ptr<Process>& process) {
  process->alive = false;
  process->inbox = nullptr;
  pool_ = nullptr;
  cluster_.ledger.gone(*process);
  if (cluster_.options.store == Store::sqlite) cluster_.dead_owners.insert(process->owner);
}

void Node::crash(std::string_view why, bool again) {
  if (!lives()) return;
  cluster_.world.note(process_->name, "dies " + std::string(why));
  buried(process_);
  // In the middle of its own step the fiber ends itself, by throwing.
  const bool itself = Strand::current() == strand_.get();
  if (!itself) {
    strand_->kill();
    strand_.reset();
  }
  if (again) start_again();
}

void Node::stop(StopKind kind, bool again) {
  if (!lives()) return;
  cluster_.world.note(process_->name, kind == StopKind::warm   ? "is told to stop"
                                      : kind == StopKind::soft ? "is told to stop softly"
                                                               : "is told to stop at once");
  cluster_.world.count(kind == StopKind::warm   ? "input.stop.warm"
                       : kind == StopKind::soft ? "input.stop.soft"
                                                : "input.stop.cold");
  if (!stop_asked_) stop_asked_ = cluster_.world.now();
  stop_kind_ = kind;
  process_->stopping = true;
  again_ = again_ || again;
  if (process_->inbox != nullptr) process_->inbox->post(worker::StopRequested{kind});
}

void Node::pause(Nanoseconds time) {
  if (!lives()) return;
  process_->pause(time);
}

void Node::revoke(const TaskId& id, bool terminate, bool kill) {
  if (!lives() || process_->inbox == nullptr) return;
  cluster_.world.count("input.control.revoke");
  cluster_.ledger.revoked(*process_, id);
  process_->inbox->post(worker::Control{worker::RevokeTasks{{id}, terminate, kill}});
}

bool Node::crash_child() { return lives() && pool_ != nullptr && !host_->paused() && pool_->crash_one(); }

}  // namespace errand::testing
