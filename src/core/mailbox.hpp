#pragma once
// Mailbox: how values travel between threads. Many threads post, one thread takes everything at once, so the lock is
// held for a swap; the owner waits in its own poll or condition and is woken through a hook.
//
//   EventFd awake;
//   Mailbox<Report> reports("pool.reports", 4096, [&] { awake.signal(); });
//   reports.try_post(std::move(report));                   // any thread; false: full or closed, nothing was taken
//   awake.clear(); reports.drain(batch);                   // the owner; clear first, then nothing is missed
//
// At the limit nothing is dropped and nothing grows: try_post says no and keeps the value with the caller, post waits
// for room until its deadline. Refusals are counted for the metric of that name.

#include <errand/time.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace errand::core {

template <class T>
class Mailbox {
 public:
  /// `name` must outlive the mailbox (a literal). `wake` is called by the posting thread when the mailbox stops being
  /// empty, and by close(); it must be quick and not throw. Without it the owner waits in wait().
  Mailbox(std::string_view name, std::size_t limit, std::function<void()> wake = nullptr)
      : name_(name), limit_(limit > 0 ? limit : 1), wake_(std::move(wake)) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  std::string_view name() const noexcept { return name_; }
  std::size_t limit() const noexcept { return limit_; }

  /// False: full or closed, and `value` is as it was.
  bool try_post(T&& value) {
    std::unique_lock lock(mutex_);
    return put(lock, value);
  }

  /// As try_post, but waits for room. False: still full at the deadline, or closed.
  bool post(T&& value, Deadline deadline) {
    std::unique_lock lock(mutex_);
    const auto room = [this] { return closed_ || values_.size() < limit_; };
    if (!deadline.is_never()) {
      room_.wait_until(lock, *deadline.point(), room);
    } else {
      room_.wait(lock, room);
    }
    return put(lock, value);
  }

  /// Replaces the content of `into` by everything that waits, in order; returns how many. `into` keeps its memory for
  /// the next time, so that a steady flow allocates nothing.
  std::size_t drain(std::vector<T>& into) {
    into.clear();
    const std::lock_guard lock(mutex_);
    into.swap(values_);
    room_.notify_all();
    return into.size();
  }

  /// Waits until something is there, or the mailbox is closed, or the deadline; true: something is there.
  bool wait(Deadline deadline) {
    std::unique_lock lock(mutex_);
    const auto something = [this] { return closed_ || !values_.empty(); };
    if (!deadline.is_never()) {
      filled_.wait_until(lock, *deadline.point(), something);
    } else {
      filled_.wait(lock, something);
    }
    return !values_.empty();
  }

  /// Nothing is taken any more; what waits can still be drained. Wakes everybody.
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      room_.notify_all();
      filled_.notify_all();
    }
    if (wake_) wake_();
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }
  /// Posts that were refused because it was full.
  std::uint64_t refused() const {
    const std::lock_guard lock(mutex_);
    return refused_;
  }

 private:
  bool put(std::unique_lock<std::mutex>& lock, T& value) {
    if (closed_) return false;
    if (values_.size() >= limit_) {
      refused_ += 1;
      return false;
    }
    values_.push_back(std::move(value));
    // The first of a batch wakes the owner; it takes the others along.
    if (values_.size() > 1) return true;
    filled_.notify_one();
    lock.unlock();
    if (wake_) wake_();
    return true;
  }

  const std::string_view name_;
  const std::size_t limit_;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable filled_;
  std::vector<T> values_;
  std::uint64_t refused_ = 0;
  bool closed_ = false;
};

}  // namespace errand::core
