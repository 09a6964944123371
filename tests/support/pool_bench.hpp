#pragma once
// A pool with a recorder at its other end, for tests of what pools report.

#include "pools/make_pool.hpp"
#include "support/sanitizer.hpp"

#include <errand/registry.hpp>

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <vector>

namespace errand::testing {

using namespace std::chrono_literals;

class Recorder final : public PoolSink {
 public:
  void started(std::uint64_t run, int) override {
    note([&] { started_.insert(run); });
  }
  void progressed(Progress progress) override {
    note([&] { progress_.push_back(std::move(progress)); });
  }
  void finished(Outcome outcome) override {
    note([&] {
      ends_[outcome.run] += 1;
      outcomes_[outcome.run] = std::move(outcome);
    });
  }
  void finished_all(std::vector<Outcome> outcomes) override {
    note([&] { tellings_ += 1; });
    PoolSink::finished_all(std::move(outcomes));
  }
  void process_ended(int process, int status, std::uint64_t running) override {
    note([&] { ended_.push_back({process, status, running}); });
  }
  void room() override {
    note([&] { rooms_ += 1; });
  }

  // A result of 100 MB takes half a minute with ThreadSanitizer on two busy processors.
  template <class F>
  bool wait(F&& condition, std::chrono::seconds limit = kSanitized ? 180s : 30s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, condition);
  }
  Outcome outcome(std::uint64_t run) {
    if (!wait([&] { return outcomes_.count(run) > 0; })) throw std::runtime_error("no outcome within the time");
    const std::lock_guard lock(mutex_);
    return outcomes_[run];
  }

  struct End {
    int pid, status;
    std::uint64_t running;
  };
  std::set<std::uint64_t> started_;
  std::vector<Progress> progress_;
  std::map<std::uint64_t, Outcome> outcomes_;
  std::map<std::uint64_t, int> ends_;
  std::vector<End> ended_;
  std::size_t tellings_ = 0;  // of outcomes, several at a time
  std::size_t rooms_ = 0;

 private:
  template <class F>
  void note(F&& what) {
    const std::lock_guard lock(mutex_);
    what();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

struct PoolBench {
  void go(std::string_view kind, PoolOptions options) {
    pool = make_pool(kind, std::move(options));
    pool->start(registry, sink);
  }
  void stop() {
    if (pool != nullptr) pool->stop(Deadline::after(5s));
  }

  Execution execution(std::string task, Array args = {}, std::uint32_t retries = 0) {
    Execution one;
    one.run = ++last;
    one.id = "id-" + std::to_string(last);
    one.task = std::move(task);
    one.queue = "q";
    one.route = {"", "q"};
    one.retries = retries;
    Message message;
    message.headers = Object{{"task", one.task}, {"id", one.id}, {"retries", static_cast<long long>(retries)}};
    message.body = to_json(Value::array({Value(std::move(args)), Value::object(), Value::object()}));
    one.message = std::make_shared<const Message>(std::move(message));
    return one;
  }
  std::uint64_t start(Execution one) {
    const std::uint64_t run = one.run;
    pool->run({&one, 1});
    return run;
  }
  std::uint64_t start(std::string task, Array args = {}) { return start(execution(std::move(task), std::move(args))); }
  Outcome run(std::string task, Array args = {}) { return sink.outcome(start(std::move(task), std::move(args))); }

  Registry registry;
  Recorder sink;
  std::unique_ptr<Pool> pool;
  std::uint64_t last = 0;
};

}  // namespace errand::testing
