#include "client/publisher.hpp"

#include "core/failpoint.hpp"
#include "core/uuid.hpp"

#include <algorithm>
#include <utility>

namespace errand::client {

namespace {

constexpr Milliseconds kFirstPause{20};
constexpr Milliseconds kLongestPause{1'000};
constexpr std::size_t kMostRemembered = 10'000;  // declared queues; beyond it they are declared again

// Between half the pause and all of it, so that many senders do not come back at the same moment.
Milliseconds jittered(Milliseconds pause) {
  const auto half = static_cast<std::uint64_t>(pause.count()) / 2;
  return Milliseconds{static_cast<std::int64_t>(half + core::random_bits() % (half + 1))};
}

Error in_doubt(const Error& lost, std::span<const Envelope> envelopes) {
  std::string id;
  if (!envelopes.empty()) {
    const Value* header = envelopes.front().message.headers.find("id");
    if (header != nullptr && header->if_text() != nullptr) id = *header->if_text();
  }
  const std::string more =
      envelopes.size() > 1 ? " and " + std::to_string(envelopes.size() - 1) + " more" : std::string();
  return Error(
      {.kind = ErrorKind::in_doubt,
       .operation = "send",
       .subject = id + more,
       .detail = "the broker's answer was lost, so the message may or may not be queued; sending it again with "
                 "the same id is harmless. Last: " +
                 std::string(lost.what()),
       .code = lost.code()});
}

}  // namespace

// Waits in line and leaves it again.
class Publisher::Turn {
 public:
  Turn(Publisher& owner, SteadyPoint deadline, bool with_breaker) : owner_(owner) {
    std::unique_lock lock(owner.mutex_);
    const auto gives_up = [&] { return with_breaker && owner.breaker_.open() && owner.busy_; };
    // The deadline of the injected clock as a real wait: only tests have another clock, and they do not queue up.
    const auto left = std::max(deadline - owner.now(), SteadyPoint::duration::zero());
    owner.changed_.wait_for(lock, left, [&] { return !owner.busy_ || gives_up(); });
    if (with_breaker && !owner.busy_) {
      probing = owner.breaker_.open();
      if (!owner.breaker_.allows(owner.now())) refuse_open();
    } else if (gives_up()) {
      refuse_open();
    }
    if (owner.busy_) {
      throw Error(
          {.kind = ErrorKind::overloaded,
           .operation = "send",
           .detail =
               "expected a turn on the broker's connection within publish_timeout, got none; others are sending"});
    }
    owner.busy_ = true;
  }
  ~Turn() {
    {
      const std::lock_guard lock(owner_.mutex_);
      owner_.busy_ = false;
    }
    owner_.changed_.notify_all();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool probing = false;  ///< the breaker is open and this caller finds out whether the broker is back

 private:
  [[noreturn]] void refuse_open() const {
    throw Error({.kind = ErrorKind::unavailable,
                 .operation = "send",
                 .detail = "the broker failed " + std::to_string(Breaker::kOpensAfter) +
                           " times in a row and is asked again every " +
                           std::to_string(Breaker::kProbeEvery.count() / 1000) +
                           "s; nothing was sent. Last: " + owner_.last_failure_});
  }
  Publisher& owner_;
};

Broker& Publisher::opened() {
  if (!broker_) {
    declared_.clear();
    broker_ = connections_.broker();
    const std::lock_guard lock(mutex_);
    traits_ = broker_->traits();
  }
  return *broker_;
}

BrokerTraits Publisher::traits() {
  {
    const std::lock_guard lock(mutex_);
    if (traits_) return *traits_;
  }
  const Turn turn(*this, now() + options_.publish_timeout, false);
  return opened().traits();
}

void Publisher::declare(const std::set<std::string>& queues) {
  Topology topology;
  for (const std::string& queue : queues) {
    if (!declared_.contains(queue)) topology.queues.push_back(QueueSpec{.name = queue});
  }
  if (topology.queues.empty()) return;
  broker_->declare(topology);
  if (declared_.size() > kMostRemembered) declared_.clear();
  for (QueueSpec& spec : topology.queues) declared_.insert(std::move(spec.name));
}

void Publisher::note_failure(bool reconnect) {
  if (reconnect) broker_.reset();
  {
    const std::lock_guard lock(mutex_);
    breaker_.failed(now());
  }
  changed_.notify_all();
}

// True: done. Otherwise `failure` says why not, and `lost` is set from the first answer that was lost on.
bool Publisher::attempt(std::span<const Envelope> envelopes, const std::set<std::string>& queues,
                        std::optional<Error>& lost, std::optional<Error>& failure) {
  bool publishing = false;
  try {
    opened();
    declare(queues);
    publishing = true;
    ERRAND_FAILPOINT("pub.before_send");
    broker_->publish(envelopes);
    const std::lock_guard lock(mutex_);
    breaker_.succeeded();
    return true;
  } catch (const Error& error) {
    // Declaring twice is harmless, so a lost answer to it leaves nothing in doubt.
    const bool doubt = error.kind() == ErrorKind::in_doubt;
    failure = error;
    if (doubt && publishing) lost = error;
    {
      const std::lock_guard lock(mutex_);
      last_failure_ = error.what();
    }
    if (doubt || error.retryable()) note_failure(error.kind() != ErrorKind::overloaded);
    return false;
  }
}

void Publisher::publish(std::span<const Envelope> envelopes, const std::set<std::string>& queues) {
  const SteadyPoint deadline = now() + options_.publish_timeout;
  const Turn turn(*this, deadline, true);
  std::optional<Error> lost, failure;
  Milliseconds pause = kFirstPause;
  bool doubted = false;
  while (!attempt(envelopes, queues, lost, failure)) {
    const bool again = failure->retryable() || (failure->kind() == ErrorKind::in_doubt && !(lost && doubted));
    doubted = lost.has_value();
    const Milliseconds wait = jittered(pause);
    if (!again || turn.probing || now() + wait >= deadline) {
      // What was said after an answer got lost cannot undo that the first message may have arrived.
      if (lost) throw in_doubt(*lost, envelopes);
      throw *failure;
    }
    connections_.pause(wait);
    pause = std::min(pause * 2, kLongestPause);
  }
  ERRAND_FAILPOINT("pub.after_confirm");
}

void Publisher::revoke(std::span<const TaskId> ids) {
  const Turn turn(*this, now() + options_.publish_timeout, true);
  try {
    opened().revoke(ids);
  } catch (const Error& error) {
    if (error.retryable() || error.kind() == ErrorKind::in_doubt) note_failure(error.kind() != ErrorKind::overloaded);
    throw;
  }
}

void Publisher::broadcast(const Envelope& envelope) {
  const Turn turn(*this, now() + options_.publish_timeout, true);
  try {
    opened().broadcast(envelope);
  } catch (const Error& error) {
    if (error.retryable() || error.kind() == ErrorKind::in_doubt) note_failure(error.kind() != ErrorKind::overloaded);
    throw;
  }
}

}  // namespace errand::client
