#pragma once
// A broker and a result store that do what a test tells them, and notice what a client must never do: use one
// connection from two threads at once, or from a forked child.

#include <errand/client.hpp>

#include <unistd.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fakes {

using namespace errand;

/// What lies behind the connections, and the script of what goes wrong.
struct World {
  BrokerTraits traits{.name = "fake", .durable = true, .fanout = true, .shared = true};
  std::deque<std::optional<ErrorKind>> publish_script;  ///< answers to publish, in turn; empty: all well
  std::deque<ErrorKind> declare_script, read_script;
  bool arrives_in_doubt = true;  ///< a publish in doubt did reach the broker
  std::function<void()> inside_publish = [] {};

  std::mutex mutex;
  std::vector<std::vector<Envelope>> batches;
  std::vector<std::string> declared;
  std::vector<Envelope> broadcasts;
  std::map<std::string, TaskResult, std::less<>> records;
  std::map<std::string, std::vector<TaskId>, std::less<>> groups;
  int brokers_opened = 0, backends_opened = 0, publishes = 0;
  std::atomic<int> misuses{0};

  std::vector<Envelope> sent() {
    const std::lock_guard lock(mutex);
    std::vector<Envelope> all;
    for (const auto& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
    return all;
  }
  Envelope last() { return sent().back(); }
};

[[noreturn]] inline void fail(ErrorKind kind, std::string operation) {
  throw Error({.kind = kind, .operation = std::move(operation), .detail = "as the script says"});
}

/// Counts as a misuse when it is entered twice at a time or in another process than the one that made it.
class Guarded {
 public:
  explicit Guarded(World& world) : world_(world) {}
  ~Guarded() {
    if (getpid() != pid_) ++world_.misuses;
  }
  class Entry {
   public:
    explicit Entry(Guarded& guarded) : guarded_(guarded) {
      if (guarded.inside_.exchange(true) || getpid() != guarded.pid_) ++guarded.world_.misuses;
    }
    ~Entry() { guarded_.inside_ = false; }

   private:
    Guarded& guarded_;
  };

 private:
  World& world_;
  const int pid_ = getpid();
  std::atomic<bool> inside_{false};
};

class FakeBroker final : public Broker {
 public:
  explicit FakeBroker(World& world) : world_(world), guard_(world) {}
  BrokerTraits traits() const noexcept override { return world_.traits; }
  void declare(const Topology& topology) override {
    const Guarded::Entry entry(guard_);
    const std::lock_guard lock(world_.mutex);
    if (!world_.declare_script.empty()) {
      const ErrorKind kind = world_.declare_script.front();
      world_.declare_script.pop_front();
      fail(kind, "fake.declare");
    }
    for (const QueueSpec& queue : topology.queues) world_.declared.push_back(queue.name);
  }
  void publish(std::span<const Envelope> envelopes) override {
    const Guarded::Entry entry(guard_);
    world_.inside_publish();
    const std::lock_guard lock(world_.mutex);
    world_.publishes += 1;
    std::optional<ErrorKind> answer;
    if (!world_.publish_script.empty()) {
      answer = world_.publish_script.front();
      world_.publish_script.pop_front();
    }
    if (!answer || (answer == ErrorKind::in_doubt && world_.arrives_in_doubt)) {
      world_.batches.emplace_back(envelopes.begin(), envelopes.end());
    }
    if (answer) fail(*answer, "fake.publish");
  }
  std::unique_ptr<Consumer> consume(const ConsumeOptions&) override { fail(ErrorKind::unsupported, "fake.consume"); }
  std::unique_ptr<Consumer> subscribe(const Route&) override { fail(ErrorKind::unsupported, "fake.subscribe"); }
  void broadcast(const Envelope& envelope) override {
    const std::lock_guard lock(world_.mutex);
    world_.broadcasts.push_back(envelope);
  }
  QueueInfo inspect(std::string_view) override { return {}; }
  std::vector<std::string> queues() override { return {}; }
  std::size_t purge(std::string_view) override { return 0; }
  std::vector<DeadLetter> dead_letters(std::string_view, std::size_t, std::string_view) override { return {}; }
  std::size_t requeue_dead(std::string_view, std::span<const std::string>) override { return 0; }
  std::size_t drop_dead(std::string_view, std::span<const std::string>) override { return 0; }

 private:
  World& world_;
  Guarded guard_;
};

class FakeResults final : public ResultBackend {
 public:
  explicit FakeResults(World& world) : world_(world), guard_(world) {}
  BackendTraits traits() const noexcept override { return {.name = "fake", .pushes = true}; }
  void put(std::span<const TaskResult> results) override {
    const std::lock_guard lock(world_.mutex);
    for (const TaskResult& result : results) world_.records[result.id] = result;
  }
  std::optional<TaskResult> get(TaskIdView id) override {
    const Guarded::Entry entry(guard_);
    const std::lock_guard lock(world_.mutex);
    if (!world_.read_script.empty()) {
      const ErrorKind kind = world_.read_script.front();
      world_.read_script.pop_front();
      fail(kind, "fake.get");
    }
    const auto found = world_.records.find(id);
    return found == world_.records.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<TaskResult> wait(TaskIdView id, Deadline) override {
    const auto found = get(id);
    return found && state::ready(found->state) ? found : std::nullopt;
  }
  void forget(TaskIdView id) override {
    const std::lock_guard lock(world_.mutex);
    world_.records.erase(std::string(id));
  }
  void put_group(GroupIdView group, std::span<const TaskId> members) override {
    const std::lock_guard lock(world_.mutex);
    world_.groups[std::string(group)] = {members.begin(), members.end()};
  }
  std::optional<std::vector<TaskId>> get_group(GroupIdView group) override {
    const std::lock_guard lock(world_.mutex);
    const auto found = world_.groups.find(group);
    return found == world_.groups.end() ? std::nullopt : std::optional(found->second);
  }
  ChordProgress chord_part_done(GroupIdView, const ChordPart&) override { return {}; }
  void set_chord_size(GroupIdView, std::size_t) override {}
  std::size_t expire(TimePoint) override { return 0; }

 private:
  World& world_;
  Guarded guard_;
};

/// Connections into the world, on a clock that only pauses move.
inline ClientConnections connections(World& world,
                                     const std::shared_ptr<ManualClock>& clock = std::make_shared<ManualClock>()) {
  ClientConnections made;
  made.broker = [&world] {
    const std::lock_guard lock(world.mutex);
    world.brokers_opened += 1;
    return std::make_unique<FakeBroker>(world);
  };
  made.results = [&world] {
    const std::lock_guard lock(world.mutex);
    world.backends_opened += 1;
    return std::make_unique<FakeResults>(world);
  };
  made.clock = clock;
  made.pause = [clock](Milliseconds pause) { clock->advance(pause); };
  return made;
}

}  // namespace fakes
