#pragma once
// Signals become stop requests, on a thread of their own: no handler, nothing to do inside one.

#include <errand/worker.hpp>

#include <functional>
#include <thread>

namespace errand::worker {

/// While it lives, SIGTERM, SIGINT and SIGQUIT are blocked in the constructing thread (and in threads it starts
/// later) and, from start() on, reported to the callback on the watcher's thread. Make it before any other thread.
class SignalWatcher {
 public:
  /// Called with the next kind of stop: warm, soft, cold for the first, second and third SIGTERM or SIGINT; cold
  /// at once for SIGQUIT.
  /// `on_reload`, if there is one, is called on SIGHUP, which otherwise keeps its meaning.
  explicit SignalWatcher(std::function<void(StopKind)> on_stop, std::function<void()> on_reload = {});
  ~SignalWatcher();
  /// Starts the watcher's thread: after pools have forked, since a fork copies one thread and whatever the others hold.
  void start();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void watch();
  std::function<void(StopKind)> on_stop_;
  std::function<void()> on_reload_;
  int signals_ = -1;
  int quit_ = -1;
  std::thread thread_;
};

}  // namespace errand::worker
