#include "pools/child.hpp"

#include "pools/ipc.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <dirent.h>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

namespace errand::pools {

namespace {

constexpr Milliseconds kFlushEvery{2};              // while tasks are short, outcomes wait this long for company
constexpr std::size_t kFlushAt = 64u << 10;         // or until they are this large together
constexpr Milliseconds kProgressEvery{500};         // progress of one task: two a second, and the last (F038)

class Child {
 public:
  Child(int socket, ChildPage* page, const Registry& registry, const RunnerOptions& options)
      : socket_(socket), page_(page), registry_(registry), options_(options) {}

  [[noreturn]] void run() {
    instance_ = this;
    catch_crashes();
    std::thread io([this] { talk(); });
    io.detach();
    for (;;) {
      Execution execution = next();
      begin(execution);
      Outcome outcome = run_task(registry_, execution, options_, control_, host());
      end(std::move(outcome));
    }
  }

 private:
  RunnerHost host() {
    return {[this](Progress progress) { report_progress(std::move(progress)); },
            [this](std::string_view line) {
              const std::lock_guard lock(mutex_);
              ipc::append_log(out_, running_, line);
            }};
  }

  Execution next() {
    std::unique_lock lock(mutex_);
    if (waiting_.empty()) {
      flush(lock);
      if (stop_) _exit(0);
      more_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
      if (waiting_.empty()) _exit(0);
      alone_ = true;  // nothing was ready: the supervisor hears of this start at once
    }
    Execution execution = std::move(waiting_.front());
    waiting_.pop_front();
    return execution;
  }

  void begin(const Execution& execution) {
    std::unique_lock lock(mutex_);
    control_.reset();
    running_ = execution.run;
    page_->running.store(execution.run, std::memory_order_release);
    soft_at_ = execution.soft_time_limit && !execution.finish_failure
                   ? std::optional(std::chrono::steady_clock::now() + *execution.soft_time_limit)
                   : std::nullopt;
    ipc::append_started(out_, execution.run);
    if (std::exchange(alone_, false) || execution.time_limit) flush(lock);
    if (soft_at_) wake_io();
  }

  void end(Outcome outcome) {
    std::unique_lock lock(mutex_);
    if (progress_) ipc::append_progress(out_, *progress_);
    progress_.reset();
    running_ = 0;
    soft_at_.reset();
    ipc::append_finished(out_, outcome);
    page_->running.store(0, std::memory_order_release);
    const auto now = std::chrono::steady_clock::now();
    if (waiting_.empty() || out_.size() >= kFlushAt || now - flushed_ >= kFlushEvery) flush(lock);
  }

  void report_progress(Progress progress) {
    std::unique_lock lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - progressed_ < kProgressEvery) {
      progress_ = std::move(progress);  // replaces an earlier one that has not left
      return;
    }
    progressed_ = now;
    progress_.reset();
    ipc::append_progress(out_, progress);
    flush(lock);
  }

  // Writes what is there. With the mutex held: frames of both threads must not mix.
  void flush(std::unique_lock<std::mutex>&) {
    write_out();
    flushed_ = std::chrono::steady_clock::now();
  }

  void write_out() noexcept {
    std::size_t sent = 0;
    while (sent < out_.size()) {
      const ssize_t n = write(socket_, out_.data() + sent, out_.size() - sent);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) _exit(0);  // the supervisor is gone
      sent += static_cast<std::size_t>(n);
    }
    out_.clear();
  }

  void wake_io() noexcept {
    // The talking thread waits without limit when nothing is timed; a byte to itself makes it look again.
    const char byte = 'w';
    [[maybe_unused]] const ssize_t n = write(wake_[1], &byte, 1);
  }

  void talk() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::string in;
    std::array<char, 64u << 10> piece;
    for (;;) {
      pollfd waits[2] = {{socket_, POLLIN, 0}, {wake_[0], POLLIN, 0}};
      if (poll(waits, 2, timeout()) < 0 && errno != EINTR) _exit(1);
      tick();
      if (waits[1].revents != 0) [[maybe_unused]] const ssize_t n = read(wake_[0], piece.data(), piece.size());
      if (waits[0].revents == 0) continue;
      const ssize_t got = read(socket_, piece.data(), piece.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) _exit(0);  // the supervisor died: nobody waits for what runs here
      in.append(piece.data(), static_cast<std::size_t>(got));
      std::size_t at = 0;
      while (const auto frame = ipc::next_frame(in, at)) handle(*frame);
      in.erase(0, at);
    }
  }

  int timeout() {
    const std::lock_guard lock(mutex_);
    if (running_ == 0 && out_.empty()) return -1;
    const auto now = std::chrono::steady_clock::now();
    auto next = SteadyPoint::max();
    if (!out_.empty()) next = flushed_ + kFlushEvery;
    if (soft_at_) next = std::min(next, *soft_at_);
    if (progress_) next = std::min(next, progressed_ + kProgressEvery);
    // Something may be added to an empty buffer by a task that runs long, without a wake-up.
    next = std::min(next, now + Milliseconds{20});
    return static_cast<int>(std::max<std::int64_t>(1, std::chrono::ceil<Milliseconds>(next - now).count()));
  }

  void tick() {
    std::unique_lock lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (soft_at_ && *soft_at_ <= now) {
      control_.pass_soft_limit();
      soft_at_.reset();
    }
    if (progress_ && now - progressed_ >= kProgressEvery) {
      ipc::append_progress(out_, *progress_);
      progress_.reset();
      progressed_ = now;
    }
    if (!out_.empty() && now - flushed_ >= kFlushEvery) flush(lock);
  }

  void handle(const ipc::Frame& frame) {
    std::unique_lock lock(mutex_);
    switch (frame.type) {
      case ipc::Type::run:
        waiting_.push_back(ipc::read_run(frame.payload));
        more_.notify_one();
        break;
      case ipc::Type::cancel: {
        const ipc::CancelFrame cancel = ipc::read_cancel(frame.payload);
        if (cancel.run != running_) break;
        if (cancel.how == Cancel::soft) control_.pass_soft_limit();
        control_.ask_to_stop(cancel.reason);
        break;
      }
      case ipc::Type::reclaim: {
        std::vector<std::uint64_t> runs;
        for (const Execution& execution : waiting_) runs.push_back(execution.run);
        waiting_.clear();
        ipc::append_reclaimed(out_, runs);
        flush(lock);
        break;
      }
      case ipc::Type::stop:
        stop_ = true;
        more_.notify_one();
        break;
      default: _exit(70);
    }
  }

  // What had finished before a crash is told; then the crash takes its course, so that the status names the signal.
  static void crashed(int signal) {
    if (instance_ != nullptr && instance_->mutex_.try_lock()) instance_->write_out();
    std::signal(signal, SIG_DFL);
    raise(signal);
  }

  static void catch_crashes() {
    // A stack of its own, because the task's may be what ran out.
    static std::array<char, 64u << 10> stack;
    stack_t alternate{};
    alternate.ss_sp = stack.data();
    alternate.ss_size = stack.size();
    sigaltstack(&alternate, nullptr);
    struct sigaction action {};
    action.sa_handler = crashed;
    action.sa_flags = static_cast<int>(SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(signal, &action, nullptr);
  }

  static inline Child* instance_ = nullptr;
  int socket_;
  ChildPage* page_;
  const Registry& registry_;
  const RunnerOptions& options_;
  RunControl control_;
  std::array<int, 2> wake_ = make_wake();
  static std::array<int, 2> make_wake() {
    std::array<int, 2> ends{-1, -1};
    if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) _exit(71);
    return ends;
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<Execution> waiting_;
  std::string out_;
  std::uint64_t running_ = 0;
  std::optional<SteadyPoint> soft_at_;
  std::optional<Progress> progress_;
  SteadyPoint progressed_{};
  SteadyPoint flushed_{};
  bool stop_ = false;
  bool alone_ = true;
};

// Only what this child was given stays open.
void close_others(const ChildFds& fds) {
  std::vector<int> open;
  if (DIR* folder = opendir("/proc/self/fd")) {
    while (const dirent* entry = readdir(folder)) {
      const int fd = std::atoi(entry->d_name);
      if (fd > 2 && fd != dirfd(folder)) open.push_back(fd);
    }
    closedir(folder);
  }
  for (const int fd : open) {
    if (fd != fds.socket && fd != fds.page && fd != fds.output) close(fd);
  }
}

}  // namespace

void child_main(const ChildFds& fds, const Registry& registry, const RunnerOptions& options, int number) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string name = "errand:" + std::to_string(number);
  prctl(PR_SET_NAME, name.c_str());
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) std::signal(signal, SIG_DFL);
  }
  // A terminal's Ctrl-C reaches the whole group; the supervisor decides what it means.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  close_others(fds);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  close(nothing);
  dup2(fds.output, STDOUT_FILENO);
  dup2(fds.output, STDERR_FILENO);
  close(fds.output);
  void* page = mmap(nullptr, sizeof(ChildPage), PROT_READ | PROT_WRITE, MAP_SHARED, fds.page, 0);
  if (page == MAP_FAILED) _exit(71);
  close(fds.page);
  // On the heap and never freed: the talking thread uses it until the process ends.
  auto* child = new Child(fds.socket, static_cast<ChildPage*>(page), registry, options);
  child->run();
}

}  // namespace errand::pools
