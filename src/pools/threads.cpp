#include "pools/threads.hpp"

#include "core/log.hpp"

#include <unistd.h>
#include <algorithm>

namespace errand::pools {

namespace {
// Without limits running nothing happens by the clock; this only bounds how long the watcher sleeps.
constexpr std::chrono::seconds kLongestWatch{60};
}  // namespace

ThreadPool::ThreadPool(PoolOptions options, std::string name) : options_(std::move(options)), name_(std::move(name)) {}

ThreadPool::~ThreadPool() { stop(Deadline::now()); }

void ThreadPool::start(const Registry& registry, PoolSink& sink) {
  const std::lock_guard lock(shared_->mutex);
  shared_->registry = &registry;
  shared_->sink = &sink;
  shared_->runner = {options_.extended_results, options_.typed_json, options_.max_result_bytes, options_.hostname};
  for (std::size_t i = 0; i < options_.concurrency; ++i) add_slot();
  watcher_ = std::thread([this] { watch(); });
}

// With the mutex held.
void ThreadPool::add_slot() {
  auto slot = std::make_shared<Slot>();
  shared_->slots.push_back(slot);
  slot->thread = std::thread([shared = shared_, slot] { work(shared, slot); });
}

std::size_t ThreadPool::free_slots() const noexcept {
  const std::lock_guard lock(shared_->mutex);
  const std::size_t used = shared_->busy + shared_->waiting.size();
  std::size_t each = shared_->pace.depth(std::max<std::size_t>(1, options_.pipeline));
  if (each > 1 && shared_->busy >= options_.concurrency) {
    const SteadyPoint now = std::chrono::steady_clock::now();
    const bool all_long = std::all_of(shared_->slots.begin(), shared_->slots.end(), [&](const auto& slot) {
      return slot->run != 0 && now - slot->since > Pace::kLongRun;
    });
    if (all_long) each = 1;
  }
  const std::size_t capacity = options_.concurrency * each;
  return used >= capacity ? 0 : capacity - used;
}

void ThreadPool::run(std::span<Execution> executions) {
  {
    const std::lock_guard lock(shared_->mutex);
    for (Execution& execution : executions) shared_->waiting.push_back(std::move(execution));
  }
  shared_->changed.notify_all();
}

void ThreadPool::work(const std::shared_ptr<Shared>& shared, const std::shared_ptr<Slot>& slot) {
  for (;;) {
    Execution execution;
    {
      std::unique_lock lock(shared->mutex);
      shared->changed.wait(lock, [&] { return shared->stopping || slot->abandoned || !shared->waiting.empty(); });
      if (slot->abandoned || shared->waiting.empty()) return;
      execution = std::move(shared->waiting.front());
      shared->waiting.pop_front();
      slot->control.reset();
      slot->run = execution.run;
      const SteadyPoint now = std::chrono::steady_clock::now();
      slot->since = now;
      slot->soft_at = execution.soft_time_limit ? std::optional(now + *execution.soft_time_limit) : std::nullopt;
      slot->hard_at = execution.time_limit ? std::optional(now + *execution.time_limit) : std::nullopt;
      shared->busy += 1;
      if (slot->soft_at || slot->hard_at) shared->changed.notify_all();
    }
    shared->sink->started(execution.run, getpid());
    const RunnerHost host{[&](Progress progress) { shared->sink->progressed(std::move(progress)); },
                          [&](std::string_view line) {
                            log::info("task.log", line, {{"task_id", execution.id}, {"task_name", execution.task}});
                          }};
    Outcome outcome = run_task(*shared->registry, execution, shared->runner, slot->control, host);
    {
      const std::lock_guard lock(shared->mutex);
      if (slot->abandoned) return;  // it was reported as timed out, and another thread has its place
      slot->run = 0;
      slot->soft_at.reset();
      slot->hard_at.reset();
      shared->busy -= 1;
      shared->pace.ran(outcome.duration, execution.message->body.size());
    }
    shared->sink->finished(std::move(outcome));
  }
}

// Passes soft limits on and gives up on threads at their hard limit.
void ThreadPool::watch() {
  std::unique_lock lock(shared_->mutex);
  while (!shared_->stopping) {
    const SteadyPoint now = std::chrono::steady_clock::now();
    SteadyPoint next = now + kLongestWatch;
    std::vector<std::shared_ptr<Slot>> over;
    for (const auto& slot : shared_->slots) {
      if (slot->run == 0) continue;
      if (slot->soft_at && *slot->soft_at <= now) {
        slot->control.pass_soft_limit();
        slot->soft_at.reset();
      }
      if (slot->hard_at && *slot->hard_at <= now) over.push_back(slot);
      if (slot->soft_at) next = std::min(next, *slot->soft_at);
      if (slot->hard_at) next = std::min(next, *slot->hard_at);
    }
    for (const auto& slot : over) time_out(*slot);
    if (over.empty()) shared_->changed.wait_until(lock, next);
  }
}

// With the mutex held.
void ThreadPool::time_out(Slot& slot) {
  Outcome outcome;
  outcome.run = slot.run;
  outcome.kind = Outcome::Kind::timed_out;
  slot.control.ask_to_stop("hard time limit passed");
  slot.abandoned = true;
  slot.thread.detach();
  shared_->busy -= 1;
  shared_->slots.remove_if([&](const std::shared_ptr<Slot>& one) { return one.get() == &slot; });
  add_slot();
  shared_->sink->finished(std::move(outcome));
}

void ThreadPool::cancel(std::uint64_t run, Cancel how, std::string_view reason) {
  const std::lock_guard lock(shared_->mutex);
  for (const auto& slot : shared_->slots) {
    if (slot->run != run) continue;
    if (how == Cancel::kill) {
      log::warning("pool.cannot_kill", "a thread cannot be killed; the task was asked to stop", {{"pool", name_}});
    }
    slot->control.ask_to_stop(reason);
  }
}

std::vector<std::uint64_t> ThreadPool::reclaim() {
  const std::lock_guard lock(shared_->mutex);
  std::vector<std::uint64_t> runs;
  for (const Execution& execution : shared_->waiting) runs.push_back(execution.run);
  shared_->waiting.clear();
  return runs;
}

void ThreadPool::stop(Deadline deadline) {
  std::list<std::shared_ptr<Slot>> slots;
  {
    std::unique_lock lock(shared_->mutex);
    if (shared_->stopping) return;
    shared_->stopping = true;
    for (const auto& slot : shared_->slots) {
      if (slot->run != 0) slot->control.ask_to_stop("worker stops");
    }
    shared_->changed.notify_all();
    const auto idle = [&] { return shared_->busy == 0; };
    if (const auto point = deadline.point()) {
      // The condition is not signalled when a task ends, so look again at short intervals until the deadline.
      while (!idle() && std::chrono::steady_clock::now() < *point) shared_->changed.wait_for(lock, Milliseconds{10});
    } else {
      while (!idle()) shared_->changed.wait_for(lock, Milliseconds{10});
    }
    slots.swap(shared_->slots);
    for (const auto& slot : slots) {
      if (slot->run == 0) continue;
      slot->abandoned = true;
      slot->thread.detach();
    }
  }
  if (watcher_.joinable()) watcher_.join();
  for (const auto& slot : slots) {
    if (slot->thread.joinable()) slot->thread.join();
  }
}

}  // namespace errand::pools
