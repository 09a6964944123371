// Prefork, second half: one child from its first breath to what is told of its death.
#include "pools/prefork.hpp"

#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "pools/ipc.hpp"

#include <errand/error.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace errand::pools {

namespace {
constexpr Milliseconds kFirstRespawn{100};
constexpr Milliseconds kLastRespawn{10'000};
constexpr std::size_t kReadsAtOnce = 16;  // of one child's output; then others have their turn
constexpr int kReadTries = 3;             // of what an ended child has said
constexpr Milliseconds kDrainAfter{1};    // output of a task that ran this long is read before its end is told

[[noreturn]] void no_resource(std::string_view what) {
  throw Error({.kind = ErrorKind::overloaded,
               .operation = "pool.spawn",
               .detail = std::string(what) + ": " + std::strerror(errno)});
}

std::string end_text(int status) {
  return WIFSIGNALED(status) ? "by signal " + std::to_string(WTERMSIG(status))
                             : "with status " + std::to_string(WEXITSTATUS(status));
}
}  // namespace

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
  ERRAND_FAILPOINT("ipc.recv");  // before anything is taken: what waits is told of again
  for (;;) {
    const ssize_t got = recv(child.socket.get(), piece_.data(), piece_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      child.eof = true;
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, child.socket.get(), nullptr);
      break;
    }
    child.in.append(piece_.data(), static_cast<std::size_t>(got));
    if (static_cast<std::size_t>(got) < piece_.size()) break;
  }
  take_frames(child, {});
}

// A child whose words make no sense has been damaged by its task, which may have written to the socket's number.
void PreforkPool::take_frames(Child& child, std::string_view more) {
  child.in += more;
  std::size_t at = 0;
  try {
    while (const auto frame = ipc::next_frame(child.in, at))
      on_frame(child, static_cast<std::uint8_t>(frame->type), frame->payload);
    child.in.erase(0, at);
  } catch (const Error& error) {
    log::error("pool.ipc", error.what(), {{"child_pid", child.pid}});
    child.in.clear();
    child.garbled = true;
    abandon(child);
  }
}

// Nothing more is expected of it; its end is reported by the zygote.
void PreforkPool::abandon(Child& child) {
  if (!child.eof) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, child.socket.get(), nullptr);
  child.eof = true;
  kill_child(child);
}

void PreforkPool::kill_child(Child& child) {
  if (child.pid <= 0) return;
  child.killed = true;
  kill(child.pid, SIGKILL);
}

void PreforkPool::on_frame(Child& child, std::uint8_t type, std::string_view payload) {
  child.spoke = true;
  switch (static_cast<ipc::Type>(type)) {
    case ipc::Type::started: {
      const std::uint64_t run = ipc::read_started(payload);
      const auto found = child.runs.find(run);
      if (found == child.runs.end()) break;
      Running& running = found->second;
      running.begun = true;
      running.started = std::chrono::steady_clock::now();
      if (running.execution.time_limit && !running.execution.finish_failure)
        running.hard_at = running.started + *running.execution.time_limit;
      child.written.begin_task();
      child.lines.clear();
      sink_->started(run, child.pid);
      break;
    }
    case ipc::Type::finished: {
      Outcome outcome = ipc::read_finished(payload);
      const auto found = child.runs.find(outcome.run);
      if (found == child.runs.end()) break;
      if (outcome.duration > kDrainAfter) read_output(child);
      report_dropped(child, found->second.execution);
      child.written.begin_task();
      child.lines.clear();
      child.pace.ran(outcome.duration, found->second.execution.message->body.size());
      child.runs.erase(found);
      retire_if_spent(child, outcome);
      in_flight_ -= 1;
      ended_.push_back(std::move(outcome));
      break;
    }
    case ipc::Type::progress:
      sink_->progressed(ipc::read_progress(payload));
      break;
    case ipc::Type::log: {
      const auto [run, line] = ipc::read_log(payload);
      if (child.runs.count(run) > 0 && child.written.keep(line.size() + 1)) log_line(child, "task.log", run, line);
      break;
    }
    case ipc::Type::reclaimed: {
      const std::vector<std::uint64_t> runs = ipc::read_reclaimed(payload);
      const std::lock_guard lock(mutex_);
      const bool asked = std::exchange(child.reclaiming, false) && reclaims_open_ > 0;
      // From the last on, so that those that stay here stand in front in their order.
      for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
        const auto found = child.runs.find(*run);
        if (found == child.runs.end()) continue;
        if (asked && !found->second.execution.finish_failure)
          reclaimed_.push_back(*run);
        else
          waiting_.push_front(std::move(found->second.execution));
        child.runs.erase(found);
        child.handed -= 1;
      }
      if (asked) {
        reclaims_open_ -= 1;
        if (reclaims_open_ == 0) reclaim_done_.notify_all();
      }
      break;
    }
    default:
      throw Error({.kind = ErrorKind::bug, .operation = "pool.ipc", .detail = "a child sent an unknown frame"});
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
  child->oom_kills = kernel_oom_kills();
  const std::uint64_t key = static_cast<std::uint64_t>(child->number) << 8;
  watch(child->socket.get(), EPOLLIN, key);
  watch(child->output.get(), EPOLLIN, key | 1);
  zygote_->spawn({theirs.get(), page.get(), their_output.get()});
  spawning_.push_back(child.get());
  children_.push_back(std::move(child));
}

bool PreforkPool::try_to_spawn() {
  try {
    if (zygote_ == nullptr) {
      // The one that was forked first has died. This process has threads by now; what they may hold at this moment
      // (a lock of the log) is not used by the new one.
      zygote_ = std::make_unique<Zygote>(*registry_, runner_);
      watch(zygote_->fd(), EPOLLIN, kZygoteKey);
    }
    spawn();
    return true;
  } catch (const Error& error) {
    spawn_later(error.what());
    return false;
  }
}

// Without descriptors or processes nothing is fetched (there is no capacity), nothing spins, and the next attempt
// comes by itself.
void PreforkPool::spawn_later(std::string_view why) {
  failed_spawns_ += 1;
  const auto wait =
      std::min<Milliseconds>(kLastRespawn, kFirstRespawn * (1LL << std::min<std::size_t>(failed_spawns_, 10)));
  spawn_at_ = std::chrono::steady_clock::now() + wait;
  log::limited(log::Level::error, "pool.resource",
               "no process can be made for tasks, " + std::to_string(children_.size()) + " of " +
                   std::to_string(options_.concurrency) + " are there; tried again by itself: " + std::string(why),
               {{"code", "E-RESOURCE"}});
}

void PreforkPool::on_zygote() {
  while (zygote_ != nullptr) {
    std::optional<Zygote::Event> event;
    try {
      event = zygote_->next_event();
    } catch (const Error& error) {
      log::error("pool.zygote", error.what());
      without_zygote();
      return;
    }
    if (!event) return;
    if (!event->started) {
      const auto found =
          std::find_if(children_.begin(), children_.end(), [&](const auto& child) { return child->pid == event->pid; });
      if (found != children_.end()) ended(**found, *event);
      continue;
    }
    Child* child = spawning_.front();
    spawning_.pop_front();
    if (event->pid > 0) {
      child->pid = event->pid;
      const std::lock_guard lock(mutex_);
      pids_.push_back(child->pid);
      continue;
    }
    forget(*child);
    spawn_later(std::string("fork: ") + std::strerror(event->status));
  }
}

// Its children die with it, by the kernel's hand. Another one is made with the next child.
void PreforkPool::without_zygote() {
  zygote_.reset();
  spawning_.clear();
  while (!children_.empty()) {
    Child& child = *children_.front();
    if (child.pid > 0) kill(child.pid, SIGKILL);
    ended(child, {.started = false, .pid = child.pid, .status = SIGKILL});
  }
}

// A child has ended. What it had finished has been said before its socket closed; what it was running died with it;
// what had not begun goes to another child.
void PreforkPool::ended(Child& child, const Zygote::Event& event) {
  for (int tries = 0; tries < kReadTries && !child.garbled; ++tries) {
    try {
      read_in(child);
      break;
    } catch (const Error& error) {
      log::limited(log::Level::warning, "pool.ipc", error.what());
    }
  }
  if (const std::uint32_t words = child.page->words.load(std::memory_order_acquire); words > 0 && words <= kLastWords) {
    child.in.clear();
    take_frames(child, {child.page->last_words.data(), words});
  }
  read_output(child);
  const std::uint64_t marked = child.page->running.load(std::memory_order_acquire);
  child.written.finish_line([&](std::string_view line) { log_line(child, "task.output", marked, line); });
  const auto running = child.runs.find(marked);
  if (running == child.runs.end() && child.page->damage[0] != 0) {
    const std::string_view damage(child.page->damage.data(),
                                  strnlen(child.page->damage.data(), child.page->damage.size()));
    log::warning("process.retires", "a task has changed its process (" + std::string(damage) + "), which is replaced",
                 {{"child_pid", child.pid}});
  }
  if (child.pid > 0) sink_->process_ended(child.pid, event.status, running == child.runs.end() ? 0 : marked);
  for (auto one = child.runs.rbegin(); one != child.runs.rend(); ++one) {
    if (one->first != marked) waiting_.push_front(std::move(one->second.execution));
  }
  if (running != child.runs.end()) lost(child, running->second, event);
  const bool useful = child.spoke || marked != 0;  // handed a task is not enough: it may have had no thread to take it
  if (event.pid > 0) {
    const std::lock_guard lock(mutex_);
    std::erase(pids_, child.pid);
    if (child.reclaiming && reclaims_open_ > 0) {
      reclaims_open_ -= 1;
      if (reclaims_open_ == 0) reclaim_done_.notify_all();
    }
  }
  forget(child);
  if (stopping_) return;
  if (!useful) {
    // One that dies before it has done anything would die again at once.
    spawn_later("the last one ended before it had a task, " + end_text(event.status));
    return;
  }
  failed_spawns_ = 0;
  spawn_at_ = std::chrono::steady_clock::now();
}

void PreforkPool::lost(Child& child, const Running& run, const Zygote::Event& event) {
  Outcome outcome;
  outcome.run = run.execution.run;
  const bool hooks = run.execution.finish_failure != nullptr;
  outcome.kind = hooks                                  ? Outcome::Kind::failure
                 : child.timed_out == run.execution.run ? Outcome::Kind::timed_out
                                                        : Outcome::Kind::lost;
  outcome.limit = run.execution.time_limit;
  ProcessEnd end{
      .pid = child.pid, .status = event.status, .peak_rss_kib = event.peak_rss_kib, .killed_here = child.killed};
  if (WIFSIGNALED(event.status) && WTERMSIG(event.status) == SIGKILL && !child.killed) {
    end.out_of_memory = kernel_oom_kills() > child.oom_kills;
  }
  add_evidence(outcome, end, *child.page, run.execution, child.lines);
  outcome.error_text = "process " + outcome.evidence;
  if (run.begun) outcome.duration = std::chrono::steady_clock::now() - run.started;
  report_dropped(child, run.execution);
  in_flight_ -= 1;
  ended_.push_back(std::move(outcome));
}

void PreforkPool::forget(Child& child) {
  munmap(child.page, sizeof(ChildPage));
  std::erase_if(children_, [&](const auto& one) { return one.get() == &child; });
}

void PreforkPool::read_output(Child& child) {
  for (std::size_t reads = 0; reads < kReadsAtOnce; ++reads) {
    const ssize_t got = read(child.output.get(), piece_.data(), piece_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got == 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, child.output.get(), nullptr);
      return;
    }
    const std::uint64_t running = child.page->running.load(std::memory_order_acquire);
    child.written.take({piece_.data(), static_cast<std::size_t>(got)},
                       [&](std::string_view line) { log_line(child, "task.output", running, line); });
  }
}

void PreforkPool::log_line(Child& child, std::string_view event, std::uint64_t run, std::string_view line) {
  const auto found = child.runs.find(run);
  log::Fields fields{{"child_pid", child.pid}};
  if (found != child.runs.end()) {
    fields.emplace_back("task_id", found->second.execution.id);
    fields.emplace_back("task_name", found->second.execution.task);
    fields.emplace_back("queue", found->second.execution.queue);
    child.lines.add(line);
  }
  log::info(event, line, fields);
}

void PreforkPool::report_dropped(Child& child, const Execution& task) {
  if (child.written.dropped() == 0) return;
  log::warning("task.output_dropped",
               std::to_string(child.written.dropped()) +
                   " bytes that the task wrote or logged were dropped; the first " +
                   std::to_string(TaskOutput::kKept >> 10) + " KiB are kept",
               {{"task_id", task.id}, {"task_name", task.task}, {"dropped", child.written.dropped()}});
  child.written.begin_task();
}

}  // namespace errand::pools
