#pragma once
// Node: one worker and the machine it runs on, through all its lives. Each life is the real worker::Loop in a fiber.

#include "testing/process.hpp"

#include <errand/worker.hpp>

#include <memory>
#include <optional>
#include <string>

namespace errand::testing {

class SimPool;

class Node {
 public:
  Node(Cluster& cluster, std::size_t number);
  ~Node();

  void start();
  /// Dies at once. `again`: and is started again after a while.
  void crash(std::string_view why, bool again);
  void stop(StopKind kind, bool again);
  void pause(Nanoseconds time);
  void revoke(const TaskId& id, bool terminate, bool kill);
  bool crash_child();
  /// When the world ends: nothing is noted any more.
  void shut_down();

  bool lives() const noexcept { return process_ && process_->alive; }
  Process* process() const noexcept { return process_.get(); }
  Host& host() noexcept { return *host_; }
  const std::string& name() const noexcept { return name_; }

 private:
  void life(const std::shared_ptr<Process>& process);
  void start_again();
  void buried(const std::shared_ptr<Process>& process);

  Cluster& cluster_;
  std::string name_;
  std::shared_ptr<Host> host_;
  std::shared_ptr<Process> process_;
  std::shared_ptr<Strand> strand_;
  SimPool* pool_ = nullptr;
  std::size_t lives_ = 0;
  bool again_ = false;
  bool over_ = false;
  std::optional<SteadyPoint> stop_asked_;
  StopKind stop_kind_ = StopKind::warm;
};

}  // namespace errand::testing
