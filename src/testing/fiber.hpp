#pragma once
// Fibers: several stacks that one thread runs in turn, so that a worker's whole loop and a task's whole body can wait
// in simulated time. They switch only where they say so. No coroutines: what waits is ordinary code that blocks.

#include <functional>
#include <memory>

namespace errand::testing {

/// Thrown out of suspend() in a fiber that was killed, so that its stack is unwound. Catch it only to throw it on.
struct Killed {};

class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  /// Kills it if it has not ended.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs it until it suspends or ends. An exception of its body other than Killed comes out here.
  void resume();
  /// Ends it: suspend() throws Killed inside, now and whenever it is called again. Not from the fiber itself.
  void kill();
  bool done() const noexcept;
  /// The stack it has may be unwound, but nothing on it may wait any more.
  bool killed() const noexcept;

  /// From inside a fiber: back to whoever resumed it.
  static void suspend();
  /// The fiber that runs; null on the thread's own stack.
  static Fiber* current() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace errand::testing
