#pragma once
// Threads: task bodies on threads of the worker's own process. Fast and shared: for trusted, short tasks. A hard time
// limit cannot kill a thread; the run is reported as timed out, its thread is left behind and replaced. `solo` is the
// same with one thread, for debugging.

#include "pools/pace.hpp"
#include "pools/runner.hpp"

#include <condition_variable>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace errand::pools {

class ThreadPool final : public Pool {
 public:
  ThreadPool(PoolOptions options, std::string name);
  ~ThreadPool() override;

  std::string_view name() const noexcept override { return name_; }
  void start(const Registry& registry, PoolSink& sink) override;
  std::size_t free_slots() const noexcept override;
  void run(std::span<Execution> executions) override;
  void cancel(std::uint64_t run, Cancel how, std::string_view reason) override;
  std::vector<std::uint64_t> reclaim() override;
  void stop(Deadline deadline) override;
  std::vector<int> processes() const override { return {}; }

 private:
  // Shared with its thread, which may outlive the pool when it hangs.
  struct Slot {
    RunControl control;
    std::uint64_t run = 0;  // 0: idle
    SteadyPoint since{};    // when that began
    std::optional<SteadyPoint> soft_at, hard_at;
    bool abandoned = false;
    std::thread thread;
  };
  struct Shared {
    mutable std::mutex mutex;
    std::condition_variable changed;
    std::deque<Execution> waiting;
    std::list<std::shared_ptr<Slot>> slots;
    std::size_t busy = 0;
    Pace pace;
    bool stopping = false;
    PoolSink* sink = nullptr;
    const Registry* registry = nullptr;
    RunnerOptions runner;
  };

  void add_slot();
  static void work(const std::shared_ptr<Shared>& shared, const std::shared_ptr<Slot>& slot);
  void watch();
  void time_out(Slot& slot);

  PoolOptions options_;
  std::string name_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread watcher_;
};

}  // namespace errand::pools
