#pragma once
// SimPool: children that run one task each, in fibers. The bodies are the user's own, run by the real runner.

#include "pools/runner.hpp"
#include "testing/process.hpp"

#include <errand/pool.hpp>

#include <deque>
#include <map>

namespace errand::testing {

class SimPool final : public Pool {
 public:
  SimPool(std::shared_ptr<Process> process, PoolOptions options, std::size_t ahead);
  ~SimPool() override;
  std::string_view name() const noexcept override { return "simulated"; }
  void start(const Registry& registry, PoolSink& sink) override;
  std::size_t free_slots() const noexcept override;
  void run(std::span<Execution> executions) override;
  void cancel(std::uint64_t run, Cancel how, std::string_view reason) override;
  std::vector<std::uint64_t> reclaim() override;
  void stop(Deadline deadline) override;
  std::vector<int> processes() const override { return {}; }

  /// Kills a child that runs something, as the kernel might. False: none does.
  bool crash_one();
  std::size_t capacity() const noexcept { return options_.concurrency + ahead_; }

 private:
  struct Child {
    int pid = 0;
    std::shared_ptr<Strand> strand;  // while it runs something
    Execution execution;
    std::shared_ptr<pools::RunControl> control;
    std::uint64_t serial = 0;  // of what it runs
    SteadyPoint reported{};    // its reports stay in their order
  };
  void feed();
  void begin(Child& child, Execution execution);
  void body(Child& child);
  void end(Child& child, Outcome::Kind kind, int signal, std::optional<Milliseconds> limit, std::string_view how);
  void report(Child& child, std::function<void(PoolSink&)> what);

  std::shared_ptr<Process> process_;
  PoolOptions options_;
  std::size_t ahead_;  // executions handed to busy children
  const Registry* registry_ = nullptr;
  pools::RunnerOptions runner_;
  std::shared_ptr<PoolSink*> sink_;  // what was on its way when the pool ends is dropped
  std::vector<std::unique_ptr<Child>> children_;
  std::deque<Execution> waiting_;
  int last_pid_ = 1000;
  std::uint64_t last_serial_ = 0;
};

}  // namespace errand::testing
