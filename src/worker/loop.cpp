#include "worker/loop.hpp"

#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "worker/report.hpp"

#include <algorithm>

namespace errand::worker {

namespace {
// With nothing else due the loop still looks up this often: a net under lost wake-ups, not a poll for work.
constexpr Milliseconds kLongestWait{10'000};
// A worker that ends when there is no work looks for that this often.
constexpr Milliseconds kIdleLook{200};
// Queues and bindings that a server lost (restarted empty, FLUSHALL, evicted) are there again within this: without
// them what Python sends to an exchange vanishes without an error.
constexpr Milliseconds kDeclareEvery{10'000};
}  // namespace

void Inbox::bind(Consumer* consumer) noexcept {
  const std::lock_guard lock(mutex_);
  consumer_ = consumer;
}

void Inbox::post(Input input) {
  const std::lock_guard lock(mutex_);
  inputs_.push_back(std::move(input));
  arrived(inputs_.size() == 1);
}

void Inbox::post_finished(std::vector<Outcome> outcomes) {
  const std::lock_guard lock(mutex_);
  const bool first = inputs_.empty();
  for (Outcome& outcome : outcomes) inputs_.emplace_back(Finished{std::move(outcome)});
  arrived(first);
}

// Under the lock: after bind(nullptr) nobody touches the consumer any more.
void Inbox::arrived(bool first) {
  if (consumer_ == nullptr) {
    arrived_.notify_all();
  } else if (first) {
    consumer_->wake();  // later ones of a batch find the loop awake
  }
}

bool Inbox::stop_asked(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto asked = [&] {
    return std::any_of(inputs_.begin(), inputs_.end(),
                       [](const Input& input) { return std::holds_alternative<StopRequested>(input); });
  };
  if (!deadline.point()) {
    arrived_.wait(lock, asked);
    return true;
  }
  return arrived_.wait_until(lock, *deadline.point(), asked);
}

void Inbox::drain(std::vector<Input>& into) {
  into.clear();
  const std::lock_guard lock(mutex_);
  into.swap(inputs_);
  drains_ += 1;
}

bool Inbox::post_and_wait(Input input, Deadline deadline) {
  std::uint64_t mine = 0;
  {
    const std::lock_guard lock(mutex_);
    mine = drains_ + 1;
    waiters_ += 1;
  }
  post(std::move(input));
  std::unique_lock lock(mutex_);
  const auto seen = [&] { return handled_ >= mine || closed_; };
  const bool done = deadline.point() ? handled_changed_.wait_until(lock, *deadline.point(), seen)
                                     : (handled_changed_.wait(lock, seen), true);
  waiters_ -= 1;
  return done;
}

void Inbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  handled_changed_.notify_all();
}

void Inbox::handled() {
  const std::lock_guard lock(mutex_);
  handled_ = drains_;
  if (waiters_ > 0) handled_changed_.notify_all();
}

Loop::Loop(LoopOptions options, Engine& engine, Broker& broker, Consumer& consumer, ResultBackend* results, Pool& pool,
           Inbox& inbox, const Systemd& systemd, const Clock& clock)
    : options_(std::move(options)),
      engine_(engine),
      broker_(broker),
      consumer_(consumer),
      results_(results),
      pool_(pool),
      inbox_(inbox),
      systemd_(systemd),
      clock_(clock),
      committer_(broker, consumer, results, options_.lease) {}

int Loop::run() {
  inbox_.bind(&consumer_);
  struct Unbind {
    Inbox& inbox;
    ~Unbind() {
      inbox.bind(nullptr);  // the pool's threads go on posting while an error unwinds this one
      inbox.close();
    }
  } const unbind{inbox_};
  if (systemd_.watchdog()) watchdog_at_ = clock_.steady();
  if (!broker_.traits().durable) declare_at_ = clock_.steady() + kDeclareEvery;
  while (!exit_code_) {
    inbox_.drain(inputs_);
    // After the drain: what is told has ended by now, and a retry is never due before its wait is over.
    look_at_clocks();
    for (Input& input : inputs_) {
      ERRAND_FAILPOINT_IF(std::holds_alternative<StopRequested>(input), "shutdown.begin");
      step(std::move(input));
    }
    step(Tick{});
    step(Capacity{pool_.free_slots()});
    carry_out();
    commit();
    lose();
    // What the commit has fetched is the engine's before anything else happens, a stop above all.
    const bool came_along = consumer_.fetched() > 0 && fetch();
    inbox_.handled();
    if (exit_code_) break;
    if (watchdog_at_ <= now_.steady) {
      systemd_.notify("WATCHDOG=1");
      watchdog_at_ = now_.steady + *systemd_.watchdog();
    }
    redeclare();
    if (settled_enough()) {
      step(StopRequested{StopKind::warm});
      continue;  // not into a wait: nothing may come any more
    }
    if (!came_along && !fetch()) stop_if_idle();
  }
  return *exit_code_;
}

void Loop::step(Input input) { engine_.step(std::move(input), now_, effects_); }

void Loop::carry_out() {
  // Effects may not cause inputs here: what comes of them is reported through the inbox or by commit().
  carried_.clear();
  carried_.swap(effects_);
  runs_.clear();
  for (Effect& effect : carried_) {
    if (auto* run = std::get_if<Run>(&effect)) {
      runs_.push_back(std::move(run->execution));
    } else if (auto* entry = std::get_if<CommitEntry>(&effect)) {
      committer_.add(std::move(*entry));
    } else if (auto* extend = std::get_if<Extend>(&effect)) {
      if (engine_.leaving() && committer_.retry_at()) continue;  // as in commit()
      Renewed renewed;
      try {
        consumer_.extend(extend->receipts, options_.lease);
        renewed.done = true;
      } catch (const Error& away) {
        log::limited(log::Level::warning, "worker.extend", away.what());
      }
      inbox_.post(renewed);
    } else if (auto* kill = std::get_if<Kill>(&effect)) {
      pool_.cancel(kill->run, kill->how, kill->reason);
    } else if (std::holds_alternative<Reclaim>(effect)) {
      inbox_.post(Reclaimed{pool_.reclaim()});
    } else if (auto* event = std::get_if<Emit>(&effect)) {
      ERRAND_FAILPOINT_IF(event->what == Emit::What::received, "event.received");
      report(*event);
    } else if (auto* ended = std::get_if<ProcessReport>(&effect)) {
      report_process_end(ended->pid, ended->status, ended->id, ended->task);
    } else if (auto* halt = std::get_if<Halt>(&effect)) {
      exit_code_ = halt->exit_code;
    }
  }
  if (!runs_.empty()) pool_.run(runs_);
}

void Loop::commit() {
  if (committer_.empty()) return;
  const bool was_away = committer_.retry_at().has_value();
  if (was_away && engine_.leaving() && *committer_.retry_at() <= now_.steady) {
    // Each try may cost the whole timeout of a store that does not answer, and a cold stop has no time for many.
    if (tried_last_) return;
    tried_last_ = true;
  }
  std::vector<std::uint64_t> safe = committer_.flush(now_, wanted());
  if (!committer_.last_error().empty()) {
    log::limited(log::Level::warning, "worker.commit", committer_.last_error());
  } else if (was_away && !committer_.retry_at()) {
    log::info("worker.commit", "the store is back; everything held is safe");
  }
  // The store may have taken its time, or this process stood still: the leases have grown older.
  look_at_clocks();
  lose();  // before what is safe: an early acknowledgement that came too late must not start its task
  if (safe.empty()) return;
  step(Committed{std::move(safe)});
  carry_out();
}

// Tells the engine what the consumer found to be somebody else's.
void Loop::lose() {
  std::vector<Receipt> lost = committer_.take_lost();
  for (Receipt& receipt : consumer_.take_lost()) lost.push_back(std::move(receipt));
  if (lost.empty()) return;
  step(LeasesLost{std::move(lost)});
  carry_out();
}

// Nothing new while a store is away: what is held already could not be made safe.
std::size_t Loop::wanted() const {
  const bool blocked = committer_.retry_at().has_value() || (fetch_after_ && *fetch_after_ > now_.steady);
  return blocked ? 0 : engine_.wanted(pool_.free_slots());
}

// Fetches what the pool would take, or just waits. True: something came.
bool Loop::fetch() {
  const std::size_t want = wanted();
  try {
    ERRAND_FAILPOINT_IF(want > 0, "fetch.before");
    std::span<Delivery> deliveries = consumer_.next(want, next_wake());
    fetch_after_.reset();
    fetch_backoff_.reset();
    if (std::vector<RevokedTask> revoked = consumer_.take_revoked(); !revoked.empty()) {
      step(Revoked{std::move(revoked)});  // before the messages that may be among them
    }
    if (deliveries.empty()) return false;
    look_at_clocks();
    Delivered delivered;
    delivered.arrivals.reserve(deliveries.size());
    for (Delivery& delivery : deliveries) {
      Arrival arrival = to_arrival(std::move(delivery));
      ERRAND_FAILPOINT("decode.after");
      if (results_ != nullptr && arrival.defect_code.empty()) look_up(arrival);
      delivered.arrivals.push_back(std::move(arrival));
    }
    step(std::move(delivered));
    return true;
  } catch (const Error& away) {
    if (!is_about_the_store(away)) throw;
    log::limited(log::Level::warning, "worker.fetch", away.what());
    fetch_after_ = clock_.steady() + fetch_backoff_.next();
    return false;
  }
}

// Whether it has ended before, as far as the store knows.
void Loop::look_up(Arrival& arrival) {
  try {
    if (!arrival.sending_id.empty()) arrival.sending_ended = results_->get(arrival.sending_id).has_value();
    // A first delivery of a first attempt cannot have ended before, and that is nearly every message.
    if (!arrival.redelivered && arrival.retries == 0) return;
    if (auto stored = results_->get(arrival.id)) {
      arrival.stored_state = std::move(stored->state);
      arrival.stored_result_json = std::move(stored->result_json);
      arrival.stored_retries = stored->retries;
      arrival.stored_token = stored->token;
    }
  } catch (const Error& away) {
    // Not knowing only means that the task may run twice, which at-least-once allows.
    log::limited(log::Level::warning, "worker.lookup", away.what());
  }
}

Deadline Loop::next_wake() const {
  SteadyPoint at = now_.steady + (options_.stop_when_idle ? kIdleLook : kLongestWait);
  if (const auto timer = engine_.next_timer()) at = std::min(at, *timer);
  // After the last try of a cold stop its time stays in the past, and waiting for it would be spinning.
  if (const auto retry = committer_.retry_at(); retry && !tried_last_) at = std::min(at, *retry);
  if (fetch_after_) at = std::min(at, *fetch_after_);
  return Deadline::at(std::min(at, watchdog_at_));
}

void Loop::redeclare() {
  if (declare_at_ > now_.steady || fetch_after_) return;  // a broker that is away is not asked here
  declare_at_ = now_.steady + kDeclareEvery;
  try {
    broker_.declare(options_.topology);
  } catch (const Error& away) {
    log::limited(log::Level::warning, "worker.declare", away.what());
  }
}

bool Loop::settled_enough() const {
  return options_.stop_after && engine_.settled() >= *options_.stop_after && !engine_.stopping();
}

void Loop::stop_if_idle() {
  if (!options_.stop_when_idle || engine_.stopping() || !engine_.idle() || !committer_.empty()) return;
  const bool nothing = std::all_of(options_.queues.begin(), options_.queues.end(), [&](const std::string& queue) {
    const QueueInfo info = broker_.inspect(queue);
    return info.ready == 0 && info.parked == 0;
  });
  if (nothing) step(StopRequested{StopKind::warm});
}

}  // namespace errand::worker
