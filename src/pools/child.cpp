#include "pools/child.hpp"

#include "core/fd.hpp"
#include "core/process_tree.hpp"
#include "core/text.hpp"
#include "pools/crash.hpp"
#include "pools/ipc.hpp"
#include "pools/limits.hpp"
#include "pools/sentinel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>

namespace errand::pools {

namespace {

constexpr Milliseconds kFlushEvery{2};           // while tasks are short, outcomes wait this long for company
constexpr std::size_t kFlushAt = 64u << 10;      // or until they are this large together
constexpr Milliseconds kProgressEvery{500};      // progress of one task: two a second, and the last (F038)
constexpr Milliseconds kLookEvery{50};           // at what a task with limits uses
constexpr std::size_t kMostProgress = 1u << 20;  // bytes of one progress report; a larger one is left out
constexpr std::size_t kMostLine = 8u << 10;      // bytes of one line of a task's log
constexpr std::size_t kTalkStack = 256u << 10;   // of the talking thread
constexpr Milliseconds kLongTask{1};             // after such a task the process is looked at
constexpr Milliseconds kCheckEvery{5};           // after shorter ones from time to time, and before it is idle
constexpr unsigned kEndWithin = 2'000;           // ms for what a task has left behind

class Child {
 public:
  Child(int socket, ChildPage* page, const Registry& registry, const RunnerOptions& options)
      : socket_(socket), page_(page), registry_(registry), options_(options), sentinel_(socket) {}

  [[noreturn]] void run() {
    instance_ = this;
    watch_for_crashes(*page_, last_act);
    pthread_atfork(nullptr, nullptr, [] { copied_ = true; });
    start_talking();
    for (;;) {
      Execution execution = next();
      begin(execution);
      const Outcome outcome = run_task(registry_, execution, options_, control_, host());
      end(outcome);
    }
  }

 private:
  RunnerHost host() {
    return {[this](Progress progress) { report_progress(std::move(progress)); },
            [this](std::string_view line) { report_line(line); }};
  }

  void start_talking() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kTalkStack);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    const auto body = [](void* child) -> void* {
      static_cast<Child*>(child)->talk();
      return nullptr;
    };
    if (pthread_create(&thread, &attributes, body, this) != 0) _exit(71);
    pthread_attr_destroy(&attributes);
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
    // With the lock still held: the talking thread waits without limit when nothing runs, and would not send in time
    // that this one has begun.
    running_ = execution.run;
    begins_ = true;
    return execution;
  }

  // Has the last task left the process as it was? Outcomes are on their way first, and while tasks are very short not
  // each of them is followed by a dozen system calls.
  void check(std::unique_lock<std::mutex>& lock) {
    check_now_ = false;
    checked_ = std::chrono::steady_clock::now();
    const std::string damage = sentinel_.damage() + std::exchange(left_, {});
    if (!damage.empty()) leave_damaged(damage, lock);
  }

  void begin(const Execution& execution) {
    std::unique_lock lock(mutex_);
    control_.reset();
    running_ = execution.run;
    page_->running.store(execution.run, std::memory_order_release);
    soft_at_ = execution.soft_time_limit && !execution.finish_failure
                   ? std::optional(std::chrono::steady_clock::now() + *execution.soft_time_limit)
                   : std::nullopt;
    // While tasks pile up, most have ended before anybody could use the news of their start: it waits for company like
    // an outcome, and is dropped when the task ends before it has left.
    started_from_ = out_.size();
    ipc::append_started(out_, execution.run);
    started_to_ = out_.size();
    added();
    begins_ = false;
    const TaskDefinition* task = registry_.find(execution.task);
    const bool tracked = task != nullptr && task->options.track_started;
    if (std::exchange(alone_, false) || execution.time_limit || tracked) flush(lock);
    if (!execution.finish_failure) limits_.begin(execution.limits);
    if (soft_at_ || limits_.watching()) wake_io();
  }

  void end(const Outcome& outcome) {
    // A task that forks and lets the copy return has made a second one of this; it is none.
    if (copied_) _exit(0);
    std::size_t left_behind = 0;
    if (core::has_children()) {
      left_behind = core::end_descendants({}, kEndWithin);
      if (core::has_children()) left_ = " processes that cannot be ended";
    }
    std::unique_lock lock(mutex_);
    limits_.end();
    if (started_to_ != 0 && started_to_ == out_.size()) out_.resize(started_from_);  // has not left; no news any more
    started_to_ = 0;
    if (progress_) ipc::append_progress(out_, *progress_);
    progress_.reset();
    if (left_behind > 0) {
      ipc::append_log(out_, running_, "processes that the task left behind: " + std::to_string(left_behind));
    }
    const bool was_long = outcome.duration >= kLongTask;
    soft_at_.reset();
    append_outcome(outcome);
    last_run_ = running_;
    running_ = 0;
    page_->running.store(0, std::memory_order_release);
    const auto now = std::chrono::steady_clock::now();
    check_now_ = check_now_ || was_long || now - checked_ >= kCheckEvery || !left_.empty();
    if (waiting_.empty() || out_.size() >= kFlushAt || now - added_at_ >= kFlushEvery) flush(lock);
    // The lock is held: what the supervisor sends now finds a sound process or none.
    if (waiting_.empty() || check_now_) check(lock);
  }

  void append_outcome(const Outcome& outcome) {
    const std::size_t before = out_.size();
    ipc::append_finished(out_, outcome);
    added();
    if (out_.size() - before <= ipc::kMaxFrame) return;
    out_.resize(before);
    Outcome instead;
    instead.run = outcome.run;
    instead.kind = Outcome::Kind::failure;
    instead.duration = outcome.duration;
    instead.peak_rss_kib = outcome.peak_rss_kib;
    instead.error_type = "ResultTooLarge";
    instead.error_module = "errand.exceptions";
    instead.error_message = "expected a result and tasks to send of at most " + std::to_string(ipc::kMaxFrame) +
                            " bytes together, got more";
    instead.error_text = instead.error_type + ": " + instead.error_message;
    instead.result_json = to_json(Value::object({{"exc_type", instead.error_type},
                                                 {"exc_message", Value::array({Value(instead.error_message)})},
                                                 {"exc_module", instead.error_module}}));
    ipc::append_finished(out_, instead);
  }

  // The outcome is told, by the page where the socket is gone; then this process makes room for a sound one.
  [[noreturn]] void leave_damaged(const std::string& damage, std::unique_lock<std::mutex>& lock) {
    damage.copy(page_->damage.data(), page_->damage.size() - 1);
    if (sentinel_.socket_intact()) {
      flush(lock);
    } else if (out_.size() <= kLastWords) {
      out_.copy(page_->last_words.data(), out_.size());
      page_->words.store(static_cast<std::uint32_t>(out_.size()), std::memory_order_release);
    } else {
      page_->running.store(last_run_, std::memory_order_release);  // lost, and counted: nobody can be told its outcome
    }
    _exit(0);
  }

  void report_line(std::string_view line) {
    if (copied_) return;
    std::unique_lock lock(mutex_);
    if (out_.size() >= kLastWords) return;  // nobody can be told: the socket is gone
    ipc::append_log(out_, running_, core::shorten(line, kMostLine));
    added();
    if (out_.size() >= kFlushAt) flush(lock);
  }

  void report_progress(Progress progress) {
    if (copied_) return;  // also: the lock may be held for ever in the copy
    std::unique_lock lock(mutex_);
    if (progress.meta_json.size() > kMostProgress) {
      ipc::append_log(out_, running_,
                      "progress of " + std::to_string(progress.meta_json.size()) + " bytes was left out, limit 1 MiB");
      added();
      return;
    }
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
  void flush(std::unique_lock<std::mutex>&) { write_out(); }

  // Something stands in out_ that waits for company from now on.
  void added() {
    if (added_at_ == SteadyPoint{}) added_at_ = std::chrono::steady_clock::now();
  }

  void write_out() noexcept {
    // Whatever has the socket's number now belongs to the task; what is to be said waits for the task's end.
    if (!sentinel_.socket_intact()) return;
    std::size_t sent = 0;
    while (sent < out_.size()) {
      const ssize_t n = write(socket_, out_.data() + sent, out_.size() - sent);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        if (errno == EBADF) return;
        _exit(0);  // the supervisor is gone
      }
      sent += static_cast<std::size_t>(n);
    }
    out_.clear();
    started_to_ = 0;
    added_at_ = {};
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
      if (!sentinel_.socket_intact()) {
        // The task closed it. There is nothing to hear; the task's end will be the process's.
        poll(nullptr, 0, static_cast<int>(kLookEvery.count()));
        continue;
      }
      if (waits[1].revents != 0) [[maybe_unused]]
        const ssize_t n = read(wake_[0], piece.data(), piece.size());
      if (waits[0].revents == 0) continue;
      const ssize_t got = read(socket_, piece.data(), piece.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) _exit(0);  // the supervisor died: nobody waits for what runs here
      in.append(piece.data(), static_cast<std::size_t>(got));
      std::size_t at = 0;
      while (const auto frame = ipc::next_frame(in, at)) {
        if (frame->type == ipc::Type::run) {
          arrived_.push_back(ipc::read_run(frame->payload));
        } else {
          take_arrived();
          handle(*frame);
        }
      }
      take_arrived();
      in.erase(0, at);
    }
  }

  // What was read together is handed over together: the thread that runs tasks is woken once.
  void take_arrived() {
    if (arrived_.empty()) return;
    const std::lock_guard lock(mutex_);
    for (Execution& execution : arrived_) waiting_.push_back(std::move(execution));
    arrived_.clear();
    more_.notify_one();
  }

  int timeout() {
    const std::lock_guard lock(mutex_);
    if (running_ == 0 && waiting_.empty() && out_.empty()) return -1;
    const auto now = std::chrono::steady_clock::now();
    auto next = SteadyPoint::max();
    if (!out_.empty()) next = added_at_ + kFlushEvery;
    if (begins_ || (running_ == 0 && !waiting_.empty())) next = std::min(next, now + kFlushEvery);
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
      added();
      progress_.reset();
      progressed_ = now;
    }
    if (!out_.empty() && now - added_at_ >= kFlushEvery) flush(lock);
    if (!limits_.watching() || now - looked_ < kLookEvery) return;
    looked_ = now;
    if (!limits_.over(*page_)) return;
    flush(lock);
    kill(0, SIGKILL);  // all of the group at once; what is in other groups comes to the zygote, which ends it
  }

  void handle(const ipc::Frame& frame) {
    std::unique_lock lock(mutex_);
    switch (frame.type) {
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
      default:
        _exit(70);
    }
  }

  // What had finished before a crash is told.
  static void last_act() noexcept {
    if (instance_ == nullptr || !instance_->mutex_.try_lock()) return;
    instance_->write_out();
    instance_->mutex_.unlock();
  }

  static inline Child* instance_ = nullptr;
  int socket_;
  ChildPage* page_;
  const Registry& registry_;
  const RunnerOptions& options_;
  RunControl control_;
  static inline std::atomic<bool> copied_{false};  // by a fork of the task's own
  std::uint64_t last_run_ = 0;
  std::string left_;
  SteadyPoint checked_{};
  bool check_now_ = false;
  Sentinel sentinel_;
  LimitKeeper limits_;
  SteadyPoint looked_{};
  std::array<int, 2> wake_ = make_wake();
  static std::array<int, 2> make_wake() {
    std::array<int, 2> ends{-1, -1};
    if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) _exit(71);
    return ends;
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<Execution> waiting_;
  std::vector<Execution> arrived_;  // of the talking thread
  std::string out_;
  std::uint64_t running_ = 0;
  std::optional<SteadyPoint> soft_at_;
  std::optional<Progress> progress_;
  SteadyPoint progressed_{};
  SteadyPoint added_at_{};        // since when something stands in out_
  std::size_t started_from_ = 0;  // where the last start stands in out_
  std::size_t started_to_ = 0;    // 0: it has left
  bool begins_ = false;           // a task was taken and its start is not written down yet
  bool stop_ = false;
  bool alone_ = true;
};

}  // namespace

void child_main(const ChildFds& fds, const Registry& registry, const RunnerOptions& options, int number) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() == 1) _exit(0);
  // A group of its own, so that a task that kills its group kills itself; orphans of what it starts come here.
  setpgid(0, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const std::string name = "errand:" + std::to_string(number);
  prctl(PR_SET_NAME, name.c_str());
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) std::signal(signal, SIG_DFL);
  }
  // A terminal's Ctrl-C reaches the whole group; the supervisor decides what it means.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  // A service manager sends its SIGTERM to every process of the service. Caught and not ignored: what a task executes
  // has the signal's own meaning again.
  struct sigaction nothing_to_do{};
  nothing_to_do.sa_handler = [](int) {};
  nothing_to_do.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &nothing_to_do, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  core::close_others({fds.socket, fds.page, fds.output});
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
