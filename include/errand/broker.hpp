#pragma once
// Brokers: the seam between Errand and whatever holds the queues.
//
// A driver is a Broker and its Consumers; facts about it are data (BrokerTraits), so that nobody asks
// "which driver is this?". The promises every driver keeps are the table in conformance.hpp.

#include <errand/error.hpp>
#include <errand/message.hpp>
#include <errand/result_backend.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// What a driver can do.
struct BrokerTraits {
  std::string_view name;  ///< "sqlite", "redis", ...
  bool durable = false;   ///< an accepted message survives a crash of everything
  bool priorities = false;
  bool low_is_urgent = false;         ///< priority 0 is served first (Redis), not 9
  bool fanout = false;                ///< subscribe() works between processes
  bool shared = false;                ///< other processes can use the same queues
  bool foreign_readers = false;       ///< Celery in Python may read and write the same queues
  bool parks = true;                  ///< keeps not_before itself
  bool keeps_revokes = false;         ///< Broker::revoke() works
  std::optional<Milliseconds> lease;  ///< after this long without extend() another consumer gets the message
  std::size_t max_message_bytes = 0;  ///< 0: no limit of its own
  std::size_t max_dead_letters = 0;   ///< per queue; 0: no limit of its own
};

/// Ids that a broker remembers as revoked; the oldest are forgotten first, as Celery's workers do.
inline constexpr std::size_t kMostRevoked = 50'000;
/// What was to be dead-lettered in a queue that has no room for it (max_dead_letters) comes again after this.
inline constexpr Milliseconds kFullDeadWait{60'000};

/// A task that must not start, and for how long the broker will say so.
struct RevokedTask {
  TaskId id;
  Milliseconds keep{0};
};

/// Names one delivery and what becomes of it. Each receipt is settled exactly once.
struct Settlement {
  enum class Kind {
    ack,      ///< done: forget it
    requeue,  ///< back to the front of its queue, at once; the delivery does not count towards a limit
    park,     ///< back to its queue, not before `not_before`
    /// To the dead letters of its queue, with its original bytes. A queue has room for max_dead_letters of them (see
    /// TransportOptions); beyond that the message is parked for kFullDeadWait, so that nothing is dropped.
    dead_letter,
  };
  Receipt receipt;
  Kind kind = Kind::ack;
  TimePoint not_before{};  ///< park
  bool begun = false;      ///< park: its task has run, so that this delivery counts towards a limit
  std::string reason;      ///< dead_letter: stable code, UNKNOWN_TASK, UNDECODABLE, CONTENT_DISALLOWED, ...
  std::string detail;      ///< dead_letter: one line for people
};

/// Outcome of a batch, in the order that makes a crash harmless: follow-ups, results, settlements.
struct Commit {
  std::span<const Envelope> follow_ups;
  std::span<const TaskResult> results;
  std::span<const Settlement> settlements;
  /// The settlement that each follow-up and each result belongs to, by its place; kFree: to none. What belongs to a
  /// settlement that comes too late is neither sent nor stored: the message is somebody else's by then, and so is what
  /// comes of it. Empty: nothing belongs to any.
  static constexpr std::uint32_t kFree = UINT32_MAX;
  std::span<const std::uint32_t> follow_ups_of{};
  std::span<const std::uint32_t> results_of{};
  /// How many messages the caller would take next. A hint: a store that can fetches them in the same step, which saves
  /// a round trip or a transaction. Consumer::fetched() says what came of it, and next() hands them out.
  std::size_t then_fetch = 0;
  bool empty() const noexcept { return follow_ups.empty() && results.empty() && settlements.empty(); }
};

/// A queue and how it is bound. The default is Celery's: direct exchange and key of the queue's own name.
struct QueueSpec {
  std::string name;
  std::string exchange;                  ///< "": same as name
  std::string exchange_type = "direct";  ///< direct | topic | fanout
  std::string routing_key;               ///< "": same as name
};

struct Topology {
  std::vector<QueueSpec> queues;
};

struct ConsumeOptions {
  std::vector<std::string> queues;  ///< served in turn; at least one
  std::string owner;                ///< unique id of this worker process (not its name); leases are held by it
  Milliseconds lease{60'000};       ///< how long a delivery stays ours without extend()
};

/// Hands out deliveries. Used by one thread; only wake() may be called from others.
class Consumer {
 public:
  virtual ~Consumer() = default;

  /// Waits for up to `max` deliveries and returns as soon as there is one; max 0 only waits for wake() or the
  /// deadline, without touching the connection (which may be down). What commit() has fetched comes first and at once,
  /// whatever `max` is, and leaves a wake() that is pending for the following call. Empty: nothing
  /// by the deadline, or woken. The span lives until the next call. Throws Error{unavailable} when the
  /// connection is gone: whatever it had delivered is delivered again later; the next call reconnects.
  virtual std::span<Delivery> next(std::size_t max, Deadline deadline) = 0;

  /// Does all of it, or throws. A receipt that is no longer ours is skipped and counted in stale().
  virtual void settle(std::span<const Settlement> settlements) = 0;

  /// Keeps deliveries ours for `lease` from now. No-op where leases need none.
  virtual void extend(std::span<const Receipt> receipts, Milliseconds lease) = 0;

  /// Makes a next() that waits, or the following one, return at once. From any thread or signal handler.
  virtual void wake() noexcept = 0;

  /// Commits a batch in the cheapest way that keeps the order follow-ups, results, settlements: one
  /// transaction or one pipelined round trip when `results_in` lives in the same store. Returns false, and
  /// does nothing, when it cannot (the caller then goes step by step).
  virtual bool commit(const Commit& /*commit*/, ResultBackend* /*results_in*/) { return false; }

  /// How many messages the last commit() has fetched (Commit::then_fetch) that the following next() will hand out. They
  /// are leased like any delivery, and nobody renews them until then, so they are to be taken at once. What is never
  /// taken goes back with the consumer, uncounted.
  virtual std::size_t fetched() const noexcept { return 0; }

  /// Settlements and extensions that came too late so far: the message belonged to somebody else.
  virtual std::size_t stale() const noexcept { return 0; }

  /// The deliveries that turned out to be somebody else's by now, each told once: by extend(), settle(), commit() or
  /// whatever a driver does between them. A receipt that this consumer has settled itself, without ever hearing so, is
  /// among them. Empty where leases need no renewal.
  virtual std::vector<Receipt> take_lost() { return {}; }

  /// The tasks revoked through the broker that this consumer has not told of yet. Complete as of the deliveries that
  /// next() returned last: what was revoked before they were taken is known before they run. Costs no round trip
  /// unless something was revoked since.
  virtual std::vector<RevokedTask> take_revoked() { return {}; }

  /// How far the broker's clock is ahead of this machine's, as of the last answer: its clock is the one that decides
  /// when a parked message is due, so whoever compares an ETA or an expiry with "now" must go by it. 0: both are one.
  virtual Microseconds clock_ahead() const noexcept { return Microseconds{0}; }
};

/// What a queue holds at this moment.
struct QueueInfo {
  std::string name;
  std::size_t ready = 0;               ///< waiting and due
  std::size_t parked = 0;              ///< waiting for their time
  std::size_t leased = 0;              ///< handed out, not settled (0 where the store cannot tell per queue)
  std::size_t dead = 0;                ///< in the dead letters
  std::optional<Milliseconds> oldest;  ///< age of the oldest ready message, where known
};

/// A message that could not be run, kept beside its queue.
struct DeadLetter {
  std::string id;  ///< names it for show, requeue and drop
  std::string queue;
  std::string reason;  ///< stable code
  std::string detail;
  std::string raw;   ///< the original bytes as the broker stored them; requeue restores exactly these
  std::string task;  ///< name and id if they could be read, else empty
  std::string task_id;
  std::uint32_t deliveries = 0;
  TimePoint first_seen{};
  TimePoint last_seen{};
};

/// Owns one connection (or file handle). Used by one thread at a time.
class Broker {
 public:
  virtual ~Broker() = default;
  virtual BrokerTraits traits() const noexcept = 0;

  /// Idempotent. Never changes a queue that exists with other arguments: throws Error{conflict}.
  virtual void declare(const Topology& topology) = 0;

  /// Returns when the broker has taken responsibility for all of them, in one round trip where it can.
  /// Throws Error{invalid} for a message over the size limit before anything is sent; {unavailable} when
  /// nothing was sent; {in_doubt} when the answer was lost; {not_found} when no queue is bound to a route.
  virtual void publish(std::span<const Envelope> envelopes) = 0;

  /// The consumer has its own connection; the broker must outlive it.
  virtual std::unique_ptr<Consumer> consume(const ConsumeOptions& options) = 0;

  /// Broadcasts that match the pattern (exchange, routing key with * and #), from now on. They need no
  /// settling and may be lost. Throws Error{unsupported} without the fanout trait.
  virtual std::unique_ptr<Consumer> subscribe(const Route& pattern) = 0;
  /// Sends to everybody subscribed now. Throws Error{unsupported} without the fanout trait.
  virtual void broadcast(const Envelope& envelope) = 0;

  virtual QueueInfo inspect(std::string_view queue) = 0;
  /// Names of the queues that exist or hold something.
  virtual std::vector<std::string> queues() = 0;
  /// Deletes what waits (ready and parked); what is handed out stays. Returns how many.
  virtual std::size_t purge(std::string_view queue) = 0;

  /// Keeps these tasks from starting, in workers that run now and in those that come, wherever their messages wait. The
  /// broker remembers each id for TransportOptions::revoke_expires, and at most kMostRevoked of them: beyond that the
  /// oldest are forgotten first. Throws Error{unsupported} without the keeps_revokes trait.
  virtual void revoke(std::span<const TaskId> /*ids*/) {
    throw Error({.kind = ErrorKind::unsupported,
                 .operation = "revoke",
                 .subject = {},
                 .detail = "this broker does not keep revoked ids",
                 .code = {}});
  }

  // Dead letters, oldest first. `after`: id of the last one seen, "" for the start.
  virtual std::vector<DeadLetter> dead_letters(std::string_view queue, std::size_t limit, std::string_view after) = 0;
  /// Puts the original bytes back on their queue, in one step each; returns how many were found.
  virtual std::size_t requeue_dead(std::string_view queue, std::span<const std::string> ids) = 0;
  virtual std::size_t drop_dead(std::string_view queue, std::span<const std::string> ids) = 0;
};

}  // namespace errand
