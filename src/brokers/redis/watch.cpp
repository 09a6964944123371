#include "brokers/redis/watch.hpp"

#include "core/log.hpp"
#include "core/uuid.hpp"

#include <poll.h>
#include <algorithm>
#include <utility>

namespace errand::redis {

namespace {
constexpr Milliseconds kFirstPause{2};   // without tracking: how soon it looks again at first,
constexpr Milliseconds kLastPause{100};  // and at last
// Many idle workers are all told of one message. Those that keep coming too late take their time, up to this.
constexpr unsigned kPatience = 3;
constexpr Microseconds kDawdle{200};
constexpr Microseconds kMostDawdling{5'000};
}  // namespace

Watch::Watch(Connection& connection, std::vector<std::string> lists, std::vector<std::string> others)
    : connection_(connection), lists_(std::move(lists)), others_(std::move(others)) {}

void Watch::set_up() {
  connection_.connect();
  if (set_up_for_ == connection_.generation()) return;
  armed_ = false;
  tracks_ = false;
  if (connection_.speaks_resp3()) {
    Commands commands;
    // Only what arm() asks: otherwise every key that a script reads for us would be remembered by the server and come
    // back as a message when the same script writes it.
    commands.add({"CLIENT", "TRACKING", "ON", "OPTIN"});
    commands.add({"CLIENT", "CACHING", "YES"});
    const std::vector<Reply> replies = connection_.call(commands, Effect::repeatable);
    tracks_ = std::none_of(replies.begin(), replies.end(), [](const Reply& reply) { return reply.is_error(); });
  }
  set_up_for_ = connection_.generation();
  if (!tracks_) {
    log::limited(log::Level::warning, "redis.watch",
                 "the server refuses CLIENT TRACKING or CLIENT CACHING (or HELLO 3), so an idle worker looks for work "
                 "every 100 ms; grant these commands to this user",
                 {{"server", connection_.url().address.text()}});
  }
}

bool Watch::quiet() {
  if (!armed_ || !connection_.connected() || set_up_for_ != connection_.generation()) return false;
  if (connection_.take_pushed()) armed_ = false;
  return armed_;
}

bool Watch::arm(bool insist) {
  set_up();
  if (!tracks_) {
    pause_ = std::clamp(pause_ * 2, kFirstPause, kLastPause);
    return true;
  }
  connection_.take_pushed();  // what was pushed before is answered by looking now
  constexpr std::size_t kExists = 1;
  Commands commands;
  commands.add({"CLIENT", "CACHING", "YES"});
  commands.begin("EXISTS");
  for (const std::string& list : lists_) commands.word(list);
  for (const std::string& other : others_) {
    commands.add({"CLIENT", "CACHING", "YES"});
    commands.begin("ZCARD").word(other);
  }
  const std::vector<Reply> replies = connection_.call(commands, Effect::repeatable);
  // Repeated on a new connection, which tracks nothing yet: whoever finds nothing now arms again, there.
  if (set_up_for_ != connection_.generation()) return false;
  require_all(replies, "redis.watch");
  armed_ = insist || replies[kExists].integer == 0;
  return armed_;
}

Watch::End Watch::wait(Deadline deadline) {
  if (!tracks_) {
    const Deadline pause = deadline.earlier(Deadline::after(pause_));
    if (wait_for_wake(pause)) return End::woken;
    return deadline.passed() ? End::deadline : End::changed;
  }
  for (;;) {
    if (!quiet()) break;
    if (!connection_.wait(deadline, woken_.fd())) return End::deadline;
    if (woken_.clear()) return End::woken;
  }
  if (fruitless_ > kPatience) {
    const auto most = std::min<Microseconds>(kMostDawdling, kDawdle * fruitless_);
    const Microseconds some{static_cast<std::int64_t>(core::random_bits() % static_cast<std::uint64_t>(most.count()))};
    // poll(2) counts in milliseconds and rounds up; most waits end here as one of them.
    if (wait_for_wake(deadline.earlier(Deadline::after(some)))) return End::woken;
  }
  return End::changed;
}

bool Watch::wait_for_wake(Deadline deadline) noexcept {
  pollfd waits{woken_.fd(), POLLIN, 0};
  while (poll(&waits, 1, deadline.poll_timeout()) <= 0 && !deadline.passed()) {
  }
  return woken_.clear();
}

void Watch::fruitful(bool found) noexcept {
  if (found) {
    fruitless_ = 0;
    pause_ = Milliseconds{0};
  } else {
    fruitless_ += 1;
  }
}

}  // namespace errand::redis
