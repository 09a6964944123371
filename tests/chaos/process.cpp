#include "chaos/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

// glibc 2.36 declares these for C alone.
extern "C" {
#include <sys/pidfd.h>
}

extern char** environ;

namespace errand::chaos {

Process::Process(const Options& options) {
  // Everything that allocates happens before the fork: other threads may hold the allocator's lock.
  std::vector<std::string> environment;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string text = *one;
    if (options.environment.find(text.substr(0, text.find('='))) == options.environment.end()) {
      environment.push_back(text);
    }
  }
  for (const auto& [name, value] : options.environment) environment.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (const std::string& word : options.words) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& one : environment) envp.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const char* output = options.output.empty() ? "/dev/null" : options.output.c_str();
  pid_ = fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t held;
    sigemptyset(&held);
    if (options.hold_sigterm) sigaddset(&held, SIGTERM);
    sigprocmask(SIG_SETMASK, &held, nullptr);
    const int file = open(output, O_WRONLY | O_APPEND | O_CREAT, 0600);
    const int nothing = open("/dev/null", O_RDONLY);
    if (dup2(nothing, 0) < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0) _exit(126);
    close_range(3, ~0U, 0);
    execvpe(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  pidfd_ = pidfd_open(pid_, 0);
  if (pidfd_ < 0) throw std::system_error(errno, std::generic_category(), "pidfd_open");
}

Process::~Process() { release(); }

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), pidfd_(std::exchange(other.pidfd_, -1)), status_(other.status_) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    release();
    pid_ = std::exchange(other.pid_, 0);
    pidfd_ = std::exchange(other.pidfd_, -1);
    status_ = other.status_;
  }
  return *this;
}

void Process::release() noexcept {
  if (pidfd_ < 0) return;
  if (!status_) {
    signal(SIGCONT);
    signal(SIGKILL);
    wait(Deadline::never());
  }
  close(pidfd_);
  pidfd_ = -1;
}

void Process::signal(int number) const noexcept {
  if (pidfd_ >= 0 && !status_) pidfd_send_signal(pidfd_, number, nullptr, 0);
}

void Process::stop() const noexcept {
  signal(SIGSTOP);
  siginfo_t info{};
  waitid(P_PIDFD, static_cast<id_t>(pidfd_), &info, WSTOPPED | WEXITED | WNOWAIT);
}

std::optional<int> Process::wait(Deadline deadline) {
  if (status_ || pidfd_ < 0) return status_;
  pollfd one{pidfd_, POLLIN, 0};
  while (poll(&one, 1, deadline.poll_timeout()) <= 0) {
    if (deadline.passed()) return std::nullopt;
  }
  int status = 0;
  if (waitpid(pid_, &status, 0) == pid_) status_ = status;
  return status_;
}

std::int64_t Process::resident_kib() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  std::int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

std::size_t Process::open_files() const {
  std::error_code gone;
  const std::filesystem::directory_iterator folder("/proc/" + std::to_string(pid_) + "/fd", gone);
  return gone ? 0 : static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
}

}  // namespace errand::chaos
