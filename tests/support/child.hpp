#pragma once
// A forked process of a test: runs a function, tells how it ended, and never outlives the test.

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

namespace errand::testing {

class Child {
 public:
  /// What the function returns is the exit code; 99 when it throws. `say` writes one line to the parent.
  using Say = std::function<void(const std::string& line)>;
  explicit Child(const std::function<int(const Say& say)>& run) {
    if (pipe(pipe_) != 0) std::abort();
    pid_ = fork();
    if (pid_ != 0) {
      close(pipe_[1]);
      return;
    }
    close(pipe_[0]);
    int code = 99;
    try {
      code = run([this](const std::string& line) {
        const std::string text = line + "\n";
        if (write(pipe_[1], text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(98);
      });
    } catch (const std::exception& error) {
      std::cerr << "child: " << error.what() << std::endl;
    }
    _exit(code);
  }
  Child(Child&& other) noexcept : pid_(other.pid_), pipe_{other.pipe_[0], -1}, text_(std::move(other.text_)) {
    other.pid_ = 0;
    other.pipe_[0] = -1;
  }
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ > 0) {
      kill(SIGKILL);
      wait();
    }
    if (pipe_[0] >= 0) close(pipe_[0]);
  }

  pid_t pid() const { return pid_; }
  void kill(int signal) const { ::kill(pid_, signal); }
  /// Exit code, or minus the signal that ended it.
  int wait() {
    int status = 0;
    if (waitpid(pid_, &status, 0) != pid_) return -1000;
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  /// The next line it says; "" when it has ended.
  std::string line() {
    for (;;) {
      const std::size_t end = text_.find('\n');
      if (end != std::string::npos) {
        std::string first = text_.substr(0, end);
        text_.erase(0, end + 1);
        return first;
      }
      char buffer[4096];
      const ssize_t got = read(pipe_[0], buffer, sizeof buffer);
      if (got <= 0) return "";
      text_.append(buffer, static_cast<std::size_t>(got));
    }
  }
  /// Everything it says until it ends.
  std::vector<std::string> lines() {
    std::vector<std::string> all;
    for (std::string one = line(); !one.empty(); one = line()) all.push_back(std::move(one));
    return all;
  }

 private:
  pid_t pid_ = 0;
  int pipe_[2] = {-1, -1};
  std::string text_;
};

}  // namespace errand::testing
