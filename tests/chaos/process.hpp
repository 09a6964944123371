#pragma once
// A child program, held by a pidfd: signals and waits reach this process and never another that has its number since.

#include <errand/time.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace errand::chaos {

class Process {
 public:
  struct Options {
    std::vector<std::string> words{};                  ///< program and arguments
    std::map<std::string, std::string> environment{};  ///< beside what we have ourselves
    std::string output{};                              ///< file for stdout and stderr
    /// SIGTERM waits until the program reads it, as our worker does. Otherwise one that has only just been started, and
    /// is told to stop, is ended by the signal.
    bool hold_sigterm = false;
  };
  /// Throws when it cannot be started. It dies with the thread that started it.
  explicit Process(const Options& options);
  ~Process();  ///< kills it
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  pid_t pid() const noexcept { return pid_; }
  void signal(int number) const noexcept;
  /// SIGSTOP, and waits until it has stopped or ended.
  void stop() const noexcept;
  /// Status as waitpid gives it; nullopt: still runs at the deadline.
  std::optional<int> wait(Deadline deadline);
  bool running() { return !wait(Deadline::now()); }
  /// Its resident memory now, in KiB; 0 when it is gone.
  std::int64_t resident_kib() const;
  /// How many files it has open; 0 when it is gone.
  std::size_t open_files() const;

 private:
  void release() noexcept;
  pid_t pid_ = 0;
  int pidfd_ = -1;
  std::optional<int> status_;
};

}  // namespace errand::chaos
