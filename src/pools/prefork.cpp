#include "pools/prefork.hpp"

#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "pools/ipc.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace errand::pools {

namespace {
constexpr double kWorkPerChild = 0.002;            // seconds of queued work that hide the hand-over
constexpr Milliseconds kLongRun{10};               // behind a task that runs longer nothing waits
constexpr Milliseconds kReclaimWait{500};
constexpr Milliseconds kFirstRespawn{100};
constexpr Milliseconds kLastRespawn{10'000};
constexpr std::size_t kOutputPerTask = 64u << 10;  // logged of one task's output; the rest is dropped (F036)
constexpr std::size_t kMaxLine = 8u << 10;
constexpr std::uint64_t kWakeKey = 1, kZygoteKey = 2;

[[noreturn]] void no_resource(std::string_view what) {
  throw Error({.kind = ErrorKind::overloaded, .operation = "pool.spawn", .detail = std::string(what) + ": " + std::strerror(errno)});
}
}  // namespace

PreforkPool::PreforkPool(PoolOptions options) : options_(std::move(options)) {
  runner_ = {options_.extended_results, options_.typed_json, options_.max_result_bytes, options_.hostname};
}

PreforkPool::~PreforkPool() { stop(Deadline::now()); }

void PreforkPool::start(const Registry& registry, PoolSink& sink) {
  sink_ = &sink;
  zygote_ = std::make_unique<Zygote>(registry, runner_);
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) no_resource("epoll_create1");
  watch(wake_.fd(), EPOLLIN, kWakeKey);
  watch(zygote_->fd(), EPOLLIN, kZygoteKey);
  for (std::size_t i = 0; i < options_.concurrency; ++i) spawn();
  publish_capacity();
  // Signals are the worker's business, whatever this thread's parent has blocked so far.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void PreforkPool::watch(int fd, std::uint32_t events, std::uint64_t key) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) no_resource("epoll_ctl");
}

std::size_t PreforkPool::free_slots() const noexcept {
  const std::size_t capacity = capacity_.load(std::memory_order_relaxed);
  const std::size_t used = in_flight_.load(std::memory_order_relaxed);
  return used >= capacity ? 0 : capacity - used;
}

void PreforkPool::run(std::span<Execution> executions) {
  in_flight_ += executions.size();
  {
    const std::lock_guard lock(mutex_);
    for (Execution& execution : executions) mail_.push_back(std::move(execution));
  }
  wake_.signal();
}

void PreforkPool::cancel(std::uint64_t run, Cancel how, std::string_view reason) {
  {
    const std::lock_guard lock(mutex_);
    cancels_.push_back({run, how, std::string(reason)});
  }
  wake_.signal();
}

std::vector<std::uint64_t> PreforkPool::reclaim() {
  std::unique_lock lock(mutex_);
  if (!thread_.joinable()) return {};
  reclaim_asked_ = true;
  reclaimed_.clear();
  wake_.signal();
  reclaim_done_.wait_for(lock, kReclaimWait, [this] { return !reclaim_asked_ && reclaims_open_ == 0; });
  reclaim_asked_ = false;
  reclaims_open_ = 0;  // what comes later waits here again
  in_flight_ -= reclaimed_.size();
  return std::exchange(reclaimed_, {});
}

std::vector<int> PreforkPool::processes() const {
  const std::lock_guard lock(mutex_);
  return pids_;
}

void PreforkPool::stop(Deadline deadline) {
  {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) return;
    stop_by_ = deadline;
  }
  wake_.signal();
  thread_.join();
  children_.clear();
  zygote_.reset();
}

void PreforkPool::serve() {
  std::array<epoll_event, 64> events;
  while (!(stopping_ && children_.empty())) {
    const int got = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_time());
    try {
      take_mail();
      for (int i = 0; i < got; ++i) {
        const std::uint64_t key = events[static_cast<std::size_t>(i)].data.u64;
        if (key == kWakeKey) continue;
        if (key == kZygoteKey) {
          on_zygote();
          continue;
        }
        // A child's number and which of its descriptors.
        const auto number = static_cast<int>(key >> 8);
        const auto found = std::find_if(children_.begin(), children_.end(), [&](const auto& child) { return child->number == number; });
        if (found == children_.end()) continue;
        if ((key & 1) != 0) {
          read_output(**found);
        } else {
          const std::uint32_t what = events[static_cast<std::size_t>(i)].events;
          if ((what & (EPOLLIN | EPOLLHUP)) != 0) read_in(**found);
          if ((what & EPOLLOUT) != 0) write_out(**found);
        }
      }
      check_clocks();
      assign();
      publish_capacity();
    } catch (const Error& error) {
      log::limited(log::Level::error, "pool.error", error.what());
    }
  }
}

int PreforkPool::wait_time() const {
  SteadyPoint next = SteadyPoint::max();
  const SteadyPoint now = std::chrono::steady_clock::now();
  bool piled = false;
  for (const auto& child : children_) {
    piled = piled || child->runs.size() > 1;
    for (const auto& [run, running] : child->runs) {
      if (running.hard_at) next = std::min(next, *running.hard_at);
    }
  }
  if (piled) next = std::min(next, now + kLongRun);
  if (children_.size() < options_.concurrency && !stopping_) next = std::min(next, spawn_at_);
  if (stop_by_ && stop_by_->point()) next = std::min(next, std::max(*stop_by_->point(), now + Milliseconds{1}));
  if (next == SteadyPoint::max()) return -1;
  return static_cast<int>(std::clamp<std::int64_t>(std::chrono::ceil<Milliseconds>(next - now).count(), 0, 3'600'000));
}

void PreforkPool::take_mail() {
  std::vector<CancelRequest> cancels;
  bool reclaim = false;
  {
    const std::lock_guard lock(mutex_);
    wake_.clear();
    for (Execution& execution : mail_) waiting_.push_back(std::move(execution));
    mail_.clear();
    cancels.swap(cancels_);
    reclaim = std::exchange(reclaim_asked_, false);
    if (reclaim) {
      // Failure hooks stay: their task has ended, and only they are left.
      std::deque<Execution> kept;
      for (Execution& execution : waiting_) {
        if (execution.finish_failure) kept.push_back(std::move(execution));
        else reclaimed_.push_back(execution.run);
      }
      waiting_.swap(kept);
      for (const auto& child : children_) {
        if (child->pid == 0 || child->eof || child->runs.size() < 2) continue;
        ipc::append_reclaim(child->out);
        child->reclaiming = true;
        reclaims_open_ += 1;
      }
      if (reclaims_open_ == 0) reclaim_done_.notify_all();
    }
    if (stop_by_ && !stopping_) {
      stopping_ = true;
      waiting_.clear();
      for (const auto& child : children_) {
        child->retiring = true;
        ipc::append_stop(child->out);
      }
    }
  }
  for (const CancelRequest& request : cancels) cancel_now(request);
  for (const auto& child : children_) write_out(*child);
}

void PreforkPool::cancel_now(const CancelRequest& request) {
  for (const auto& child : children_) {
    const auto found = child->runs.find(request.run);
    if (found == child->runs.end()) continue;
    // A run that has not begun is not killed with the one before it: it is found by its mark when it begins.
    const bool runs_now = child->page != nullptr && child->page->running.load(std::memory_order_acquire) == request.run;
    if (request.how == Cancel::kill && runs_now && child->pid > 0) {
      kill(child->pid, SIGKILL);
    } else if (request.how != Cancel::kill) {
      ipc::append_cancel(child->out, request.run, request.how, request.reason);
    }
  }
}

std::size_t PreforkPool::depth(const Child& child) const noexcept {
  if (child.retiring || child.eof || child.pid == 0) return 0;
  std::size_t most = std::max<std::size_t>(1, options_.pipeline);
  if (options_.max_tasks_per_child > 0) {
    const std::size_t left = options_.max_tasks_per_child > child.handed ? options_.max_tasks_per_child - child.handed : 0;
    most = std::min(most, left + child.runs.size());
  }
  if (child.seconds <= 0) return std::min<std::size_t>(1, most);
  return std::clamp<std::size_t>(static_cast<std::size_t>(kWorkPerChild / child.seconds), 1, std::max<std::size_t>(1, most)) * (most > 0 ? 1 : 0);
}

void PreforkPool::publish_capacity() {
  std::size_t capacity = 0;
  for (const auto& child : children_) capacity += child->pid == 0 && !child->retiring ? 1 : depth(*child);
  capacity_.store(capacity, std::memory_order_relaxed);
}

PreforkPool::Child* PreforkPool::roomiest() {
  Child* best = nullptr;
  for (const auto& child : children_) {
    if (child->runs.size() >= depth(*child)) continue;
    if (best == nullptr || child->runs.size() < best->runs.size()) best = child.get();
  }
  return best;
}

void PreforkPool::assign() {
  while (!waiting_.empty()) {
    Child* child = roomiest();
    if (child == nullptr) break;
    hand(*child, std::move(waiting_.front()));
    waiting_.pop_front();
  }
  for (const auto& child : children_) write_out(*child);
}

void PreforkPool::hand(Child& child, Execution execution) {
  ipc::append_run(child.out, execution);
  child.handed += 1;
  const std::uint64_t run = execution.run;
  child.runs.emplace(run, Running{.execution = std::move(execution)});
  if (options_.max_tasks_per_child > 0 && child.handed >= options_.max_tasks_per_child) {
    child.retiring = true;
    ipc::append_stop(child.out);  // it ends once everything before this is done
  }
}

void PreforkPool::write_out(Child& child) {
  while (!child.out.empty() && !child.eof) {
    ERRAND_FAILPOINT("ipc.send");
    const ssize_t n = send(child.socket.get(), child.out.data(), child.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;  // epoll tells when there is room again
    if (n <= 0) {
      child.eof = true;  // its end is reported by the zygote
      break;
    }
    child.out.erase(0, static_cast<std::size_t>(n));
  }
  epoll_event event{};
  event.events = EPOLLIN | (child.out.empty() || child.eof ? 0u : static_cast<std::uint32_t>(EPOLLOUT));
  event.data.u64 = static_cast<std::uint64_t>(child.number) << 8;
  const bool wants = !child.out.empty() && !child.eof;
  if (wants != child.wants_out) {
    child.wants_out = wants;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, child.socket.get(), &event);
  }
}

void PreforkPool::read_in(Child& child) {
  std::array<char, 64u << 10> piece;
  ERRAND_FAILPOINT("ipc.recv");  // before anything is taken: what waits is told of again
  for (;;) {
    const ssize_t got = recv(child.socket.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      child.eof = true;
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, child.socket.get(), nullptr);
      break;
    }
    child.in.append(piece.data(), static_cast<std::size_t>(got));
    if (static_cast<std::size_t>(got) < piece.size()) break;
  }
  std::size_t at = 0;
  while (const auto frame = ipc::next_frame(child.in, at)) on_frame(child, static_cast<std::uint8_t>(frame->type), frame->payload);
  child.in.erase(0, at);
}

void PreforkPool::on_frame(Child& child, std::uint8_t type, std::string_view payload) {
  switch (static_cast<ipc::Type>(type)) {
    case ipc::Type::started: {
      const std::uint64_t run = ipc::read_started(payload);
      const auto found = child.runs.find(run);
      if (found == child.runs.end()) break;
      Running& running = found->second;
      running.begun = true;
      running.started = std::chrono::steady_clock::now();
      if (running.execution.time_limit && !running.execution.finish_failure) running.hard_at = running.started + *running.execution.time_limit;
      child.output_kept = 0;
      sink_->started(run, child.pid);
      break;
    }
    case ipc::Type::finished: {
      Outcome outcome = ipc::read_finished(payload);
      if (child.runs.erase(outcome.run) == 0) break;
      const double seconds = std::chrono::duration<double>(outcome.duration).count();
      child.seconds = child.seconds <= 0 ? seconds : child.seconds * 0.8 + seconds * 0.2;
      child.seconds = std::max(child.seconds, 1e-6);
      retire_if_spent(child, outcome);
      in_flight_ -= 1;
      sink_->finished(std::move(outcome));
      break;
    }
    case ipc::Type::progress: sink_->progressed(ipc::read_progress(payload)); break;
    case ipc::Type::log: {
      const auto [run, line] = ipc::read_log(payload);
      const auto found = child.runs.find(run);
      if (found != child.runs.end()) {
        log::info("task.log", line, {{"task_id", found->second.execution.id}, {"task_name", found->second.execution.task}, {"queue", found->second.execution.queue}});
      }
      break;
    }
    case ipc::Type::reclaimed: {
      const std::vector<std::uint64_t> runs = ipc::read_reclaimed(payload);
      const std::lock_guard lock(mutex_);
      const bool asked = std::exchange(child.reclaiming, false) && reclaims_open_ > 0;
      for (const std::uint64_t run : runs) {
        const auto found = child.runs.find(run);
        if (found == child.runs.end()) continue;
        if (asked && !found->second.execution.finish_failure) reclaimed_.push_back(run);
        else waiting_.push_front(std::move(found->second.execution));
        child.runs.erase(found);
        child.handed -= 1;
      }
      if (asked) {
        reclaims_open_ -= 1;
        if (reclaims_open_ == 0) reclaim_done_.notify_all();
      }
      break;
    }
    default: log::error("pool.ipc", "a child sent an unknown frame", {{"child_pid", child.pid}});
  }
}

void PreforkPool::retire_if_spent(Child& child, const Outcome& outcome) {
  if (child.retiring || options_.max_memory_per_child_kib == 0) return;
  if (outcome.peak_rss_kib < static_cast<std::int64_t>(options_.max_memory_per_child_kib)) return;
  log::info("process.retires", "a child has used more memory than max_memory_per_child and is replaced",
            {{"child_pid", child.pid}, {"peak_rss_kib", outcome.peak_rss_kib}});
  child.retiring = true;
  ipc::append_stop(child.out);
}

// Hard limits, and tasks that wait behind one that runs long while another child has nothing to do.
void PreforkPool::check_clocks() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  const bool somebody_idle = std::any_of(children_.begin(), children_.end(), [&](const auto& child) { return child->runs.empty() && depth(*child) > 0; });
  for (const auto& child : children_) {
    bool long_run = false;
    for (auto& [run, running] : child->runs) {
      if (running.begun && now - running.started > kLongRun) long_run = true;
      if (!running.hard_at || *running.hard_at > now || child->pid <= 0) continue;
      running.hard_at.reset();
      child->timed_out = run;
      kill(child->pid, SIGKILL);
    }
    if (long_run && somebody_idle && child->runs.size() > 1 && !child->reclaiming && !child->eof) {
      child->reclaiming = true;
      ipc::append_reclaim(child->out);
      write_out(*child);
    }
  }
  if (!stopping_ && children_.size() < options_.concurrency && spawn_at_ <= now) spawn();
  if (stopping_ && stop_by_ && stop_by_->passed()) {
    for (const auto& child : children_) {
      if (child->pid > 0) kill(child->pid, SIGKILL);
    }
  }
}

void PreforkPool::spawn() {
  int sockets[2], output[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) no_resource("socketpair");
  auto child = std::make_unique<Child>();
  child->number = ++next_number_;
  child->socket.reset(sockets[0]);
  const core::UniqueFd theirs(sockets[1]);
  if (pipe2(output, O_CLOEXEC) != 0) no_resource("pipe2");
  child->output.reset(output[0]);
  const core::UniqueFd their_output(output[1]);
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  const core::UniqueFd page(memfd_create("errand-child", MFD_CLOEXEC));
  if (!page || ftruncate(page.get(), sizeof(ChildPage)) != 0) no_resource("memfd_create");
  void* mapped = mmap(nullptr, sizeof(ChildPage), PROT_READ | PROT_WRITE, MAP_SHARED, page.get(), 0);
  if (mapped == MAP_FAILED) no_resource("mmap");
  child->page = static_cast<ChildPage*>(mapped);
  const std::uint64_t key = static_cast<std::uint64_t>(child->number) << 8;
  watch(child->socket.get(), EPOLLIN, key);
  watch(child->output.get(), EPOLLIN, key | 1);
  zygote_->spawn({theirs.get(), page.get(), their_output.get()});
  spawning_.push_back(child.get());
  children_.push_back(std::move(child));
}

void PreforkPool::on_zygote() {
  while (const auto event = zygote_->next_event()) {
    if (event->started) {
      Child* child = spawning_.front();
      spawning_.pop_front();
      if (event->pid > 0) {
        child->pid = event->pid;
        const std::lock_guard lock(mutex_);
        pids_.push_back(child->pid);
        continue;
      }
      failed_spawns_ += 1;
      log::limited(log::Level::error, "pool.spawn", "no process can be made: " + std::string(std::strerror(event->status)));
      std::erase_if(children_, [&](const auto& one) { return one.get() == child; });
      spawn_at_ = std::chrono::steady_clock::now() + std::min<Milliseconds>(kLastRespawn, kFirstRespawn * (1LL << std::min<std::size_t>(failed_spawns_, 10)));
      continue;
    }
    const auto found = std::find_if(children_.begin(), children_.end(), [&](const auto& child) { return child->pid == event->pid; });
    if (found != children_.end()) ended(**found, event->status);
  }
}

// A child has ended. What it had finished has been said before its socket closed; what it was running died with it;
// what had not begun goes to another child.
void PreforkPool::ended(Child& child, int status) {
  read_in(child);
  read_output(child);
  if (!child.line.empty()) log_output(child, std::exchange(child.line, {}));
  std::uint64_t running = child.page->running.load(std::memory_order_acquire);
  if (child.runs.find(running) == child.runs.end()) running = 0;
  sink_->process_ended(child.pid, status, running);
  for (auto one = child.runs.rbegin(); one != child.runs.rend(); ++one) {
    if (one->first != running) waiting_.push_front(std::move(one->second.execution));
  }
  if (running != 0) {
    const Running& lost = child.runs.at(running);
    Outcome outcome;
    outcome.run = running;
    const bool hooks = lost.execution.finish_failure != nullptr;
    outcome.kind = hooks ? Outcome::Kind::failure : child.timed_out == running ? Outcome::Kind::timed_out : Outcome::Kind::lost;
    outcome.limit = lost.execution.time_limit;
    outcome.exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    outcome.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    outcome.error_text = WIFSIGNALED(status) ? "process ended by signal " + std::to_string(WTERMSIG(status))
                                             : "process exited with status " + std::to_string(WEXITSTATUS(status));
    if (lost.begun) outcome.duration = std::chrono::steady_clock::now() - lost.started;
    in_flight_ -= 1;
    sink_->finished(std::move(outcome));
  }
  const bool useful = child.handed > 0;
  {
    const std::lock_guard lock(mutex_);
    std::erase(pids_, child.pid);
    if (child.reclaiming && reclaims_open_ > 0 && --reclaims_open_ == 0) reclaim_done_.notify_all();
  }
  munmap(child.page, sizeof(ChildPage));
  std::erase_if(children_, [&](const auto& one) { return one.get() == &child; });
  if (stopping_) return;
  // One that dies before it has done anything would die again at once.
  failed_spawns_ = useful ? 0 : failed_spawns_ + 1;
  spawn_at_ = std::chrono::steady_clock::now();
  if (!useful) spawn_at_ += std::min<Milliseconds>(kLastRespawn, kFirstRespawn * (1LL << std::min<std::size_t>(failed_spawns_, 10)));
  if (spawn_at_ <= std::chrono::steady_clock::now()) spawn();
}

void PreforkPool::read_output(Child& child) {
  std::array<char, 16u << 10> piece;
  for (;;) {
    const ssize_t got = read(child.output.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got == 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, child.output.get(), nullptr);
      return;
    }
    std::string_view rest(piece.data(), static_cast<std::size_t>(got));
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const std::size_t room = kMaxLine - std::min(kMaxLine, child.line.size());
      child.line.append(rest.substr(0, std::min(end, room)));
      if (end == rest.size()) break;
      log_output(child, std::exchange(child.line, {}));
      rest.remove_prefix(end + 1);
    }
  }
}

void PreforkPool::log_output(Child& child, std::string_view line) {
  if (child.output_kept > kOutputPerTask) return;
  child.output_kept += line.size() + 1;
  const std::uint64_t running = child.page->running.load(std::memory_order_acquire);
  const auto found = child.runs.find(running);
  log::Fields fields{{"child_pid", child.pid}};
  if (found != child.runs.end()) {
    fields.emplace_back("task_id", found->second.execution.id);
    fields.emplace_back("task_name", found->second.execution.task);
  }
  if (child.output_kept > kOutputPerTask) line = "(output of this task beyond 64 KiB is dropped)";
  log::info("task.output", line, fields);
}

}  // namespace errand::pools
