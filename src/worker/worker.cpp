// Worker: where the parts of a worker are constructed, started and stopped, in this order.
#include <errand/worker.hpp>

#include "core/backoff.hpp"
#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "core/uuid.hpp"
#include "pools/make_pool.hpp"
#include "worker/controller.hpp"
#include "worker/loop.hpp"
#include "worker/node_name.hpp"
#include "worker/report.hpp"
#include "worker/signals.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <thread>

namespace errand {

namespace {

// How long an answer to remote control waits for a loop that is busy with a store.
constexpr std::chrono::seconds kControlPatience{2};

[[noreturn]] void wrong(std::string option, std::string detail) {
  throw Error(
      {.kind = ErrorKind::invalid, .operation = "worker", .subject = std::move(option), .detail = std::move(detail)});
}

void check(const WorkerOptions& options) {
  constexpr std::size_t kMostConcurrency = 4096;
  if (options.queues.empty()) wrong("queues", "expected at least one queue, got none; name one with -Q");
  if (options.concurrency > kMostConcurrency) {
    wrong("concurrency", "expected 1 to 4096, got " + std::to_string(options.concurrency));
  }
  if (options.soft_time_limit && options.time_limit && *options.soft_time_limit > *options.time_limit) {
    wrong("soft_time_limit", "expected at most the hard time_limit, got more; the task would be killed first");
  }
  if (options.lease < Milliseconds{1'000})
    wrong("lease", "expected at least 1s, got less; leases are renewed at a third");
  if (options.max_crashes == 0) wrong("max_crashes", "expected at least 1, got 0");
}

constexpr int kNeverReached = 69;  // EX_UNAVAILABLE

/// A worker may be started before its broker: it waits for it, as for one that went away later. Empty: somebody asked
/// it to stop first. What no waiting mends (a wrong password, a conflict) is thrown at once.
std::unique_ptr<Consumer> reach(Broker& broker, const Topology& topology, const ConsumeOptions& consume,
                                worker::Inbox& inbox) {
  core::Backoff backoff(core::kReconnect);
  for (;;) {
    try {
      broker.declare(topology);
      return broker.consume(consume);
    } catch (const Error& away) {
      if (!away.retryable() && away.kind() != ErrorKind::in_doubt) throw;
      log::limited(log::Level::warning, "worker.unreachable",
                   std::string("the broker cannot be reached, trying again until it can: ") + away.what());
    }
    if (inbox.stop_asked(Deadline::after(backoff.next()))) return nullptr;
  }
}

}  // namespace

struct Worker::Impl {
  WorkerOptions options;
  const Registry& registry;
  worker::Inbox inbox;
  std::unique_ptr<Pool> pool;
};

Worker::Worker(WorkerOptions options, const Registry& registry)
    : impl_(new Impl{.options = std::move(options), .registry = registry}) {
  WorkerOptions& o = impl_->options;
  ERRAND_ARM_FAILPOINTS();  // before the pool forks
  check(o);
  if (o.concurrency == 0) o.concurrency = std::max(1u, std::thread::hardware_concurrency());
  o.node_name = worker::expand_node_name(o.node_name);
  for (QueueSpec& queue : o.queues) queue.name = worker::expand(queue.name, o.node_name);
}

Worker::~Worker() = default;

void Worker::request_stop(StopKind kind) noexcept {
  try {
    impl_->inbox.post(worker::StopRequested{kind, std::chrono::steady_clock::now()});
  } catch (...) {
    // Only memory can run out here; a second request will find some.
  }
}

int Worker::run() {
  const WorkerOptions& o = impl_->options;
  const worker::Systemd systemd;
  const SystemClock clock;

  // Signals are blocked first, so that every later thread inherits the mask; then the pool, which forks, before any
  // thread or connection; then the thread that reads the signals.
  std::optional<worker::SignalWatcher> signals;
  if (o.handle_signals) signals.emplace([this](StopKind kind) { request_stop(kind); }, on_reload);

  std::unique_ptr<Broker> broker = open_broker(o.broker_url, o.transport);
  const BrokerTraits traits = broker->traits();
  PoolOptions pool_options;
  pool_options.concurrency = o.concurrency;
  pool_options.max_tasks_per_child = o.max_tasks_per_child;
  pool_options.max_memory_per_child_kib = o.max_memory_per_child_kib;
  pool_options.extended_results = o.result_extended;
  pool_options.typed_json = o.typed_json.value_or(!traits.foreign_readers);
  pool_options.max_result_bytes = o.max_result_bytes;
  pool_options.hostname = o.node_name;
  worker::InboxSink sink(impl_->inbox);  // outlives the pool, whose threads use it to the end
  std::unique_ptr<Pool> pool = make_pool(o.pool, pool_options);
  pool->start(impl_->registry, sink);
  if (signals) signals->start();

  std::unique_ptr<ResultBackend> results;
  if (o.result_backend_url != "disabled") {
    results = open_result_backend(o.result_backend_url.empty() ? o.broker_url : o.result_backend_url, o.transport);
  }
  ConsumeOptions consume;
  for (const QueueSpec& queue : o.queues) consume.queues.push_back(queue.name);
  consume.owner = o.node_name + "/" + core::uuid4();
  consume.lease = o.lease;
  std::unique_ptr<Consumer> consumer = reach(*broker, Topology{o.queues}, consume, impl_->inbox);
  if (consumer == nullptr) {
    pool->stop(Deadline::after(std::chrono::seconds(5)));
    return kNeverReached;
  }

  worker::EngineOptions engine_options = worker::engine_options(o, traits, results != nullptr);
#ifndef ERRAND_FAILPOINTS  // one of them lies where an event is told, whoever reads it
  engine_options.reported = worker::is_reported;
#endif
  worker::Engine engine(std::move(engine_options), impl_->registry);

  std::optional<worker::Controller> controller;
  if (o.control && traits.fanout) {
    controller.emplace(o.broker_url, o.transport, o.node_name, impl_->registry,
                       worker::Controller::Events{
                           // An answer means that it has happened: a revoked task does not start after it.
                           .change =
                               [this](worker::Control change) {
                                 impl_->inbox.post_and_wait(std::move(change), Deadline::after(kControlPatience));
                               },
                           .stop = [this](StopKind kind) { request_stop(kind); },
                           .log = [](std::string_view event,
                                     std::string_view detail) { log::limited(log::Level::info, event, detail); }});
  }

  worker::Loop loop({.lease = o.lease,
                     .stop_after = o.stop_after,
                     .stop_when_idle = o.stop_when_idle,
                     .queues = consume.queues,
                     .topology = Topology{o.queues}},
                    engine, *broker, *consumer, results.get(), *pool, impl_->inbox, systemd, clock);
  if (on_ready) on_ready();
  systemd.notify("READY=1");
  const int exit_code = loop.run();
  systemd.notify("STOPPING=1");

  // Stop order: nobody gives new commands; the pool ends its processes; then the connections go.
  controller.reset();
  pool->stop(Deadline::after(exit_code == 0 ? Milliseconds{5'000} : Milliseconds{500}));
  return exit_code;
}

}  // namespace errand
