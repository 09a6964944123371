#pragma once
// A connection to one Redis server: commands go out in one write and are answered in order.
//
// It knows nothing of queues or results; what the answers mean is for the drivers.

#include "wire/redis/commands.hpp"
#include "wire/redis/errors.hpp"
#include "wire/redis/reply.hpp"
#include "wire/redis/url.hpp"

#include <errand/error.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace errand::redis {

/// Oldest server that has everything the drivers need: RPOP with a count.
inline constexpr int kOldestMajor = 6;
inline constexpr int kOldestMinor = 2;

struct ConnectionOptions {
  Milliseconds connect_timeout{5'000};
  Milliseconds answer_timeout{5'000};  ///< for all answers of one call
  /// RESP3: the server may push messages between answers. Where it is refused the connection speaks RESP2.
  bool resp3 = false;
};

/// What a lost answer means. `repeatable`: asking again is harmless, so a lost answer is Error{unavailable} and a
/// broken connection is made anew once; otherwise it is Error{in_doubt}.
enum class Effect { repeatable, changes };

/// The server does not know the script that was called by its digest: first use, or it was restarted. Nothing was done.
inline bool is_unknown_script(const Reply& reply) noexcept {
  return reply.is_error() && reply.text.starts_with("NOSCRIPT");
}

/// Used by one thread. Connects on first use and again after it broke; in a forked child it makes its own connection
/// and leaves the parent's alone.
class Connection {
 public:
  explicit Connection(Url url, ConnectionOptions options = {});
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Sends all and returns every answer. Throws Error{unavailable} when nothing was sent; error answers are returned.
  std::vector<Reply> call(Commands& commands, Effect effect);
  /// One command; throws the typed error of an error answer.
  Reply call(std::initializer_list<std::string_view> words, Effect effect = Effect::repeatable);
  /// One command that calls this script (Commands::eval); loads it when the server does not know it. Throws.
  Reply eval(const Script& script, Commands& commands, std::string_view operation, Effect effect);

  // For answers that are worked on one by one while the server goes on with what was sent behind them.
  /// Sends without waiting. Throws as call() with Effect::changes, and so does answer(); what was due is lost then. It
  /// is lost, too, when something else is called before all of it was taken.
  void start(Commands& commands);
  /// Waits for the next answer to what was started; there is one for each command.
  Reply answer();

  // For messages that nobody asked for (RESP3 pushes, RESP2 subscriptions).
  /// Sends without waiting for answers; they come through arrived().
  void send(Commands& commands);
  /// Waits until something comes, or `wake_fd` becomes readable. False: neither by the deadline.
  bool wait(Deadline deadline, int wake_fd);
  /// The next answer that has arrived already; pushes are counted and dropped.
  std::optional<Reply> arrived();
  /// The next answer or push that has arrived already.
  std::optional<Reply> arrived_or_pushed();
  /// True when the server has pushed something since the last call.
  bool take_pushed();

  void connect();
  /// The next use connects again. Writes nothing.
  void close() noexcept;
  bool connected() const noexcept;
  /// Grows with every connection made; what was set up on an older one is gone.
  std::uint64_t generation() const noexcept { return generation_; }
  /// Pushes are possible on this connection.
  bool speaks_resp3() const noexcept { return resp3_; }
  const Url& url() const noexcept { return url_; }

 private:
  void login(Deadline deadline);
  void check_version(const Reply& hello);
  void require_database(const Reply& selected) const;
  std::vector<Reply> exchange(Commands& commands, Deadline deadline);
  void write(std::string_view bytes, Deadline deadline);
  Reply read(Deadline deadline);
  std::optional<Reply> parsed();
  template <class Next>
  std::optional<Reply> taken(Next next);
  bool receive();
  bool closed_by_peer();
  [[noreturn]] void timed_out(std::string_view what) const;
  [[noreturn]] void gave_up(const Error& error, bool in_doubt) const;

  Url url_;
  ConnectionOptions options_;
  std::unique_ptr<net::Stream> stream_;
  ReplyReader reader_;
  pid_t pid_ = 0;
  std::uint64_t generation_ = 0;
  bool resp3_ = false;
  bool pushed_ = false;
  bool sent_ = false;    // something of the current exchange may have reached the server
  std::size_t due_ = 0;  // answers to what was started
  Deadline due_by_ = Deadline::now();
  bool wrong_server_ = false;  // one of them said so
};

}  // namespace errand::redis
