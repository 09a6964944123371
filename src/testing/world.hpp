#pragma once
// The simulated world: one thread, a heap of events ordered by virtual time, and everything that can wait in it.
//
// Two events of the same moment come in an order that the world's own chance decides, so that a seed is one history of
// many possible ones and always the same.

#include "testing/fiber.hpp"
#include "testing/prng.hpp"
#include "testing/trace.hpp"

#include <errand/time.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace errand::testing {

using Nanoseconds = std::chrono::nanoseconds;

class World;

/// A process's view of time and its ability to be stopped as a whole. Its wall clock may be wrong and jump.
class Host final : public Clock {
 public:
  explicit Host(const World& world) : world_(world) {}
  TimePoint now() const override;
  SteadyPoint steady() const override;

  void step_wall(Microseconds by) noexcept { offset_ += by; }
  /// Parts in a million by which the wall clock runs too fast, from now on.
  void drift(std::int64_t parts_per_million) noexcept;
  void true_time() noexcept;
  /// Has the wall clock of another from now on: processes of one machine.
  void follow(std::shared_ptr<const Host> other) { other_ = std::move(other); }
  /// Nothing in it runs before then (SIGSTOP, a paused machine).
  void pause_until(SteadyPoint when) noexcept { paused_until_ = when; }
  SteadyPoint paused_until() const noexcept { return paused_until_; }
  bool paused() const noexcept;

 private:
  const World& world_;
  std::shared_ptr<const Host> other_;
  Microseconds offset_{0};
  std::int64_t drift_ppm_ = 0;
  SteadyPoint drift_since_{};
  SteadyPoint paused_until_ = SteadyPoint::min();
};

/// Something that runs in the world and can wait: a fiber with a bell.
class Strand : public std::enable_shared_from_this<Strand> {
 public:
  Strand(World& world, std::shared_ptr<Host> host, std::function<void()> body);

  /// The strand that runs now, or null.
  static Strand* current() noexcept;

  void start();
  /// From inside: until then, whatever happens.
  void sleep_until(SteadyPoint when);
  /// From inside: until then or until ring(). True: rung.
  bool wait_until(SteadyPoint when);
  /// Ends a wait_until() that goes on, or the next one at once.
  void ring();
  void kill();
  World& world() const noexcept { return world_; }
  bool done() const noexcept { return fiber_.done(); }
  bool killed() const noexcept { return fiber_.killed(); }

 private:
  void resume_at(SteadyPoint when);
  void run(std::uint64_t ticket);
  World& world_;
  std::shared_ptr<Host> host_;
  Fiber fiber_;
  std::uint64_t ticket_ = 0;  // of the wait that goes on
  bool waits_for_bell_ = false, rung_ = false;
};

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed) {}
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  SteadyPoint now() const noexcept { return now_; }
  Nanoseconds since_start() const noexcept { return now_ - kStart; }
  /// The true wall-clock time.
  TimePoint wall() const noexcept;

  Prng& random() noexcept { return random_; }
  Trace& trace() noexcept { return trace_; }
  const Trace& trace() const noexcept { return trace_; }
  void note(std::string_view who, std::string_view what) { trace_.add(since_start(), who, what); }
  void count(std::string_view what) {
    const auto found = counters_.find(what);
    if (found != counters_.end())
      found->second += 1;
    else
      counters_.emplace(std::string(what), 1);
  }
  const std::map<std::string, std::uint64_t, std::less<>>& counters() const noexcept { return counters_; }

  void at(SteadyPoint when, std::function<void()> what);
  void after(Nanoseconds wait, std::function<void()> what) { at(now_ + wait, std::move(what)); }
  /// The next event. False: there is none.
  bool step();
  std::size_t events() const noexcept { return events_; }

  std::shared_ptr<Strand> spawn(std::shared_ptr<Host> host, std::function<void()> body);

  static constexpr SteadyPoint kStart{std::chrono::hours(1)};

 private:
  struct Event {
    SteadyPoint when;
    std::uint64_t tie, number;
    std::function<void()> what;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const noexcept {
      if (a.when != b.when) return a.when > b.when;
      return a.tie != b.tie ? a.tie > b.tie : a.number > b.number;
    }
  };

  SteadyPoint now_ = kStart;
  Prng random_;
  Trace trace_;
  std::vector<Event> heap_;
  std::uint64_t last_number_ = 0;
  std::size_t events_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> counters_;
};

}  // namespace errand::testing
