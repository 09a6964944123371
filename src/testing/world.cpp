#include "testing/world.hpp"

#include <algorithm>
#include <utility>

namespace errand::testing {

namespace {
// 2026-03-01T00:00:00Z: any fixed moment would do.
constexpr TimePoint kEpoch{std::chrono::seconds{1'772'323'200}};
thread_local Strand* running = nullptr;

// In small steps: a clock that is too slow still never goes backwards.
Microseconds drifted(Nanoseconds time, std::int64_t parts_per_million) {
  return std::chrono::duration_cast<Microseconds>(time / 1'000 * parts_per_million / 1'000);
}
}  // namespace

TimePoint World::wall() const noexcept { return kEpoch + std::chrono::duration_cast<Microseconds>(since_start()); }

TimePoint Host::now() const {
  if (other_) return other_->now();
  return world_.wall() + offset_ + drifted(world_.now() - drift_since_, drift_ppm_);
}
SteadyPoint Host::steady() const { return world_.now(); }

void Host::drift(std::int64_t parts_per_million) noexcept {
  offset_ += drifted(world_.now() - drift_since_, drift_ppm_);
  drift_since_ = world_.now();
  drift_ppm_ = parts_per_million;
}

void Host::true_time() noexcept {
  offset_ = Microseconds{0};
  drift_ppm_ = 0;
}

bool Host::paused() const noexcept { return paused_until_ > world_.now(); }

Strand::Strand(World& world, std::shared_ptr<Host> host, std::function<void()> body)
    : world_(world), host_(std::move(host)), fiber_(std::move(body)) {}

Strand* Strand::current() noexcept { return running; }

void Strand::start() { resume_at(world_.now()); }

void Strand::resume_at(SteadyPoint when) {
  world_.at(when, [weak = weak_from_this(), ticket = ticket_] {
    if (const auto self = weak.lock()) self->run(ticket);
  });
}

void Strand::run(std::uint64_t ticket) {
  if (ticket != ticket_ || fiber_.done()) return;
  if (host_ && host_->paused()) {
    world_.at(host_->paused_until(), [weak = weak_from_this(), ticket] {
      if (const auto self = weak.lock()) self->run(ticket);
    });
    return;
  }
  ticket_ += 1;
  Strand* const before = std::exchange(running, this);
  try {
    fiber_.resume();
  } catch (...) {
    running = before;
    throw;
  }
  running = before;
}

void Strand::sleep_until(SteadyPoint when) {
  resume_at(std::max(when, world_.now()));
  Fiber::suspend();
}

// What its unwinding does is done by it, not by whoever ends it.
void Strand::kill() {
  Strand* const before = std::exchange(running, this);
  fiber_.kill();
  running = before;
}

bool Strand::wait_until(SteadyPoint when) {
  if (!rung_) {
    waits_for_bell_ = true;
    if (when != SteadyPoint::max()) resume_at(std::max(when, world_.now()));
    Fiber::suspend();
    waits_for_bell_ = false;
  }
  return std::exchange(rung_, false);
}

void Strand::ring() {
  if (std::exchange(rung_, true)) return;
  if (waits_for_bell_) resume_at(world_.now());
}

World::~World() {
  // Events hold strands by weak pointers only; what they captured goes with them.
  heap_.clear();
}

void World::at(SteadyPoint when, std::function<void()> what) {
  heap_.push_back(Event{std::max(when, now_), random_.next(), ++last_number_, std::move(what)});
  std::push_heap(heap_.begin(), heap_.end(), Later{});
}

bool World::step() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), Later{});
  const Event event = std::move(heap_.back());
  heap_.pop_back();
  now_ = event.when;
  events_ += 1;
  event.what();
  return true;
}

std::shared_ptr<Strand> World::spawn(std::shared_ptr<Host> host, std::function<void()> body) {
  auto strand = std::make_shared<Strand>(*this, std::move(host), std::move(body));
  strand->start();
  return strand;
}

}  // namespace errand::testing
