#include "pools/prefork.hpp"

#include "core/log.hpp"
#include "pools/ipc.hpp"

#include <errand/error.hpp>

#include <sys/epoll.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace errand::pools {

namespace {
constexpr std::size_t kReadAtOnce = 64u << 10;
constexpr Milliseconds kReclaimWait{500};
}  // namespace

PreforkPool::PreforkPool(PoolOptions options) : options_(std::move(options)), piece_(kReadAtOnce) {
  runner_ = {options_.extended_results, options_.typed_json, options_.max_result_bytes, options_.hostname};
}

PreforkPool::~PreforkPool() { stop(Deadline::now()); }

void PreforkPool::start(const Registry& registry, PoolSink& sink) {
  sink_ = &sink;
  registry_ = &registry;
  zygote_ = std::make_unique<Zygote>(registry, runner_);
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_)
    throw Error({.kind = ErrorKind::overloaded,
                 .operation = "pool.start",
                 .detail = std::string("epoll_create1: ") + std::strerror(errno)});
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
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    throw Error({.kind = ErrorKind::overloaded,
                 .operation = "pool.spawn",
                 .detail = std::string("epoll_ctl: ") + std::strerror(errno)});
  }
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
        const auto found = std::find_if(children_.begin(), children_.end(),
                                        [&](const auto& child) { return child->number == number; });
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
    report_ended();
  }
}

int PreforkPool::wait_time() const {
  SteadyPoint next = SteadyPoint::max();
  const SteadyPoint now = std::chrono::steady_clock::now();
  for (const auto& child : children_) {
    for (const auto& [run, running] : child->runs) {
      if (running.hard_at) next = std::min(next, *running.hard_at);
      if (running.begun && !child->long_run) next = std::min(next, running.started + Pace::kLongRun);
    }
  }
  if (children_.size() < options_.concurrency && !stopping_) next = std::min(next, spawn_at_);
  if (give_up_at_.point()) next = std::min(next, std::max(*give_up_at_.point(), now + Milliseconds{1}));
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
        if (execution.finish_failure)
          kept.push_back(std::move(execution));
        else
          reclaimed_.push_back(execution.run);
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
      give_up_at_ = *stop_by_;
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
      kill_child(*child);
    } else if (request.how != Cancel::kill) {
      ipc::append_cancel(child->out, request.run, request.how, request.reason);
    }
  }
}

std::size_t PreforkPool::depth(const Child& child) const noexcept {
  if (child.retiring || child.eof || child.pid == 0) return 0;
  std::size_t most = std::max<std::size_t>(1, options_.pipeline);
  if (options_.max_tasks_per_child > 0) {
    const std::size_t left =
        options_.max_tasks_per_child > child.handed ? options_.max_tasks_per_child - child.handed : 0;
    most = std::min(most, left + child.runs.size());
  }
  return child.long_run ? std::min<std::size_t>(1, most) : child.pace.depth(most);
}

void PreforkPool::publish_capacity() {
  std::size_t capacity = 0;
  for (const auto& child : children_) capacity += child->pid == 0 && !child->retiring ? 1 : depth(*child);
  const bool was_full = free_slots() == 0;
  capacity_.store(capacity, std::memory_order_relaxed);
  if (was_full && free_slots() > 0) sink_->room();
}

// Everything that was read in one turn goes up at once: one wake-up, one commit.
void PreforkPool::report_ended() {
  if (!ended_.empty()) sink_->finished_all(std::exchange(ended_, {}));
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

// Hard limits, and tasks that wait behind one that runs long while another child has room.
void PreforkPool::check_clocks() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  for (const auto& child : children_) {
    child->long_run = false;
    for (auto& [run, running] : child->runs) {
      if (running.begun && now - running.started >= Pace::kLongRun) child->long_run = true;
      if (!running.hard_at || *running.hard_at > now || child->pid <= 0) continue;
      running.hard_at.reset();
      child->timed_out = run;
      kill_child(*child);
    }
  }
  for (const auto& child : children_) {
    if (!child->long_run || child->runs.size() < 2 || child->reclaiming || child->eof) continue;
    const bool room = std::any_of(children_.begin(), children_.end(),
                                  [&](const auto& other) { return other->runs.size() < depth(*other); });
    if (!room) continue;  // its own depth is 1
    child->reclaiming = true;
    ipc::append_reclaim(child->out);
    write_out(*child);
  }
  while (!stopping_ && children_.size() < options_.concurrency && spawn_at_ <= now) {
    if (!try_to_spawn()) break;
  }
  if (give_up_at_.passed()) {
    for (const auto& child : children_) kill_child(*child);
  }
}

}  // namespace errand::pools
