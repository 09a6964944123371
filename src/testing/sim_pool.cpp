#include "testing/sim_pool.hpp"

#include "testing/cluster.hpp"

#include <algorithm>
#include <csignal>

namespace errand::testing {

namespace {
constexpr int kKilled = SIGKILL;  // as wait(2) says it
constexpr double kIsLate = 0.05;

}  // namespace

SimPool::SimPool(std::shared_ptr<Process> process, PoolOptions options, std::size_t ahead)
    : process_(std::move(process)), options_(std::move(options)), ahead_(ahead) {
  runner_ = {.extended_results = options_.extended_results,
             .typed_json = options_.typed_json,
             .max_result_bytes = options_.max_result_bytes,
             .hostname = options_.hostname,
             .clock = process_->host.get()};
  for (std::size_t i = 0; i < options_.concurrency; ++i) {
    children_.push_back(std::make_unique<Child>());
    children_.back()->pid = ++last_pid_;
  }
}

SimPool::~SimPool() {
  if (sink_) *sink_ = nullptr;
  for (const auto& child : children_) {
    if (!child->strand) continue;
    process_->cluster.ledger.killed(*process_, child->execution, "the worker ended");
    child->strand->kill();
  }
}

void SimPool::start(const Registry& registry, PoolSink& sink) {
  registry_ = &registry;
  sink_ = std::make_shared<PoolSink*>(&sink);
}

std::size_t SimPool::free_slots() const noexcept {
  const auto busy = static_cast<std::size_t>(
      std::count_if(children_.begin(), children_.end(), [](const auto& child) { return child->strand != nullptr; }));
  const std::size_t used = busy + waiting_.size();
  return used >= capacity() ? 0 : capacity() - used;
}

void SimPool::run(std::span<Execution> executions) {
  for (Execution& execution : executions) {
    process_->cluster.ledger.dispatched(*process_, execution);
    process_->cluster.world.count("effect.run");
    waiting_.push_back(std::move(execution));
  }
  feed();
}

void SimPool::feed() {
  for (const auto& child : children_) {
    if (waiting_.empty()) return;
    if (child->strand) continue;
    Execution execution = std::move(waiting_.front());
    waiting_.pop_front();
    begin(*child, std::move(execution));
  }
}

void SimPool::begin(Child& child, Execution execution) {
  World& world = process_->cluster.world;
  child.execution = std::move(execution);
  child.control = std::make_shared<pools::RunControl>();
  child.serial = ++last_serial_;
  child.strand = world.spawn(process_->host, [this, &child] { body(child); });
  const auto timer = [&](std::optional<Milliseconds> limit, auto what) {
    if (!limit || child.execution.finish_failure) return;
    world.after(*limit, [&child, serial = child.serial, strand = std::weak_ptr<Strand>(child.strand), what] {
      if (!strand.expired() && child.serial == serial && child.strand) what();
    });
  };
  timer(child.execution.soft_time_limit, [this, &child] {
    process_->cluster.world.count("input.soft_limit");
    child.control->pass_soft_limit();
    child.strand->ring();
  });
  timer(child.execution.time_limit,
        [this, &child] { end(child, Outcome::Kind::timed_out, kKilled, child.execution.time_limit, "hard limit"); });
}

void SimPool::body(Child& child) {
  Ledger& ledger = process_->cluster.ledger;
  const std::uint64_t serial = child.serial;
  if (!child.execution.finish_failure) ledger.began(*process_, child.execution);
  report(child, [run = child.execution.run, pid = child.pid](PoolSink& sink) { sink.started(run, pid); });
  const pools::RunnerHost host{[this, &child](const Progress& progress) {
                                 report(child, [progress](PoolSink& sink) { sink.progressed(progress); });
                               },
                               [this](std::string_view line) {
                                 process_->cluster.world.note(process_->name, "task says: " + std::string(line));
                               }};
  Outcome outcome = pools::run_task(*registry_, child.execution, runner_, *child.control, host);
  if (Strand::current()->killed() || child.serial != serial) throw Killed{};
  ledger.ended(*process_, child.execution, outcome, {});
  report(child, [outcome = std::move(outcome)](PoolSink& sink) { sink.finished(outcome); });
  // This fiber still runs; it is let go when it has ended.
  process_->cluster.world.after(Nanoseconds{0}, [keep = std::exchange(child.strand, nullptr)] {});
  feed();
}

// From outside its fiber: the child is dead, and another takes its place.
void SimPool::end(Child& child, Outcome::Kind kind, int signal, std::optional<Milliseconds> limit,
                  std::string_view how) {
  const std::shared_ptr<Strand> strand = std::exchange(child.strand, nullptr);
  child.serial = ++last_serial_;
  strand->kill();
  Outcome outcome;
  outcome.run = child.execution.run;
  outcome.kind = kind;
  outcome.exit_signal = signal;
  outcome.limit = limit;
  outcome.error_text = std::string(how);
  process_->cluster.ledger.ended(*process_, child.execution, outcome, how);
  report(child, [pid = child.pid, signal, run = outcome.run](PoolSink& sink) { sink.process_ended(pid, signal, run); });
  report(child, [outcome](PoolSink& sink) { sink.finished(outcome); });
  child.pid = ++last_pid_;
  feed();
}

void SimPool::report(Child& child, std::function<void(PoolSink&)> what) {
  Cluster& cluster = process_->cluster;
  World& world = cluster.world;
  Nanoseconds late{world.random().between(1'000, 60'000)};
  if (cluster.faulty(Fault::late_reports) && world.random().chance(kIsLate)) {
    cluster.inject(Fault::late_reports, process_->name);
    late += Milliseconds{world.random().between(1, 3'000)};
  }
  child.reported = std::max(child.reported + Nanoseconds{1}, world.now() + late);
  world.at(child.reported, [sink = sink_, what = std::move(what)] {
    if (*sink != nullptr) what(**sink);
  });
}

void SimPool::cancel(std::uint64_t run, Cancel how, std::string_view reason) {
  World& world = process_->cluster.world;
  for (const auto& child : children_) {
    if (!child->strand || child->execution.run != run) continue;
    world.count(how == Cancel::cooperative ? "effect.ask" : how == Cancel::soft ? "effect.soft" : "effect.kill");
    if (how == Cancel::kill) {
      end(*child, Outcome::Kind::lost, kKilled, std::nullopt, "killed: " + std::string(reason));
    } else {
      child->control->ask_to_stop(reason);
      child->strand->ring();
    }
    return;
  }
}

std::vector<std::uint64_t> SimPool::reclaim() {
  std::vector<std::uint64_t> runs;
  std::deque<Execution> kept;
  for (Execution& execution : waiting_) {
    if (execution.finish_failure)
      kept.push_back(std::move(execution));
    else
      runs.push_back(execution.run);
  }
  waiting_.swap(kept);
  process_->cluster.world.count(runs.empty() ? "effect.reclaim_nothing" : "effect.reclaim");
  return runs;
}

void SimPool::stop(Deadline) {}

bool SimPool::crash_one() {
  for (const auto& child : children_) {
    if (!child->strand || child->execution.finish_failure) continue;
    // Not one that was handed over and has not begun: that is another's crash.
    end(*child, Outcome::Kind::lost, SIGSEGV, std::nullopt, kCrashed);
    return true;
  }
  return false;
}

}  // namespace errand::testing
