#pragma once
// Process: one simulated process and its way to the store, where most faults happen.

#include "testing/world.hpp"

#include <errand/testing.hpp>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace errand::worker {
class Inbox;
}

namespace errand::testing {

struct Cluster;

/// A worker, a producer or a Python worker while it lives. Gone after a crash: the next one is another.
struct Process {
  Cluster& cluster;
  std::string name;   ///< "w1#3": node and how often it was started
  std::string owner;  ///< of its leases
  std::shared_ptr<Host> host;
  worker::Inbox* inbox = nullptr;  ///< of a worker that runs
  bool alive = true;
  bool stopping = false;
  std::uint64_t turns = 0;      ///< how often its loop came to its wait
  std::uint64_t errors = 0;     ///< answers of the store that told it of a fault
  SteadyPoint woke_at{};        ///< when its loop last came out of its wait and read its clocks
  SteadyPoint trouble_at{};     ///< when something last kept it from renewing its leases
  SteadyPoint failing_since{};  ///< of the second that is counted
  std::uint32_t failures_this_second = 0;
  /// Nothing on its machine runs for that long (SIGSTOP).
  void pause(Nanoseconds time);
  std::function<void(std::string_view why)> die;  ///< crashes it; a strand of its own then has to throw Killed
};

/// What a step does at the store.
enum class Effect { reads, changes };

/// One process's calls to the store: each takes time, may fail before or after it took effect, and may be the last
/// thing the process does.
class Link {
 public:
  explicit Link(std::shared_ptr<Process> process) : process_(std::move(process)) {}
  Process& process() const noexcept { return *process_; }

  /// `apply` is one atomic step. Throws Error as a driver does, or Killed.
  template <class F>
  auto call(std::string_view operation, Effect effect, F&& apply) {
    before(operation, effect);
    if constexpr (std::is_void_v<decltype(apply())>) {
      apply();
      after(operation, effect);
    } else {
      auto answer = apply();
      after(operation, effect);
      return answer;
    }
  }

 private:
  void before(std::string_view operation, Effect effect);
  void after(std::string_view operation, Effect effect);
  void maybe_die(std::string_view operation, std::string_view where);
  void maybe_stand_still(std::string_view operation, Effect effect);
  void travel(bool loaded);
  [[noreturn]] void fail(ErrorKind kind, std::string_view operation, std::string_view detail);
  std::shared_ptr<Process> process_;
};

}  // namespace errand::testing
