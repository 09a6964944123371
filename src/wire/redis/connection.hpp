#pragma once
// A connection that speaks RESP2: commands appended to one buffer, sent in one write, answered in order.

#include "wire/redis/reply.hpp"
#include "wire/redis/url.hpp"

#include <errand/error.hpp>

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

struct redisReader;

namespace errand::redis {

/// A Lua script and the digest the server knows it by.
struct Script {
  explicit Script(std::string_view source);
  std::string source;
  std::string sha;
};

/// Commands to be sent together. A value that only grows.
class Commands {
 public:
  void add(std::initializer_list<std::string_view> words);
  void add(std::span<const std::string> words);
  /// EVALSHA of the script.
  void eval(const Script& script, std::span<const std::string> keys, std::span<const std::string> arguments);
  std::size_t count() const noexcept { return count_; }
  const std::string& bytes() const noexcept { return bytes_; }
  bool empty() const noexcept { return count_ == 0; }

 private:
  void begin(std::size_t words);
  void word(std::string_view text);
  std::string bytes_;
  std::size_t count_ = 0;
};

/// Used by one thread. Connects on first use, again after it broke, and by itself in a forked child.
class Connection {
 public:
  Connection(Url url, Milliseconds connect_timeout, Milliseconds answer_timeout);
  ~Connection();

  /// Sends all and returns every answer. Throws Error{unavailable} when nothing was sent, {in_doubt} when it was and
  /// the answers did not all come. Error answers are returned, not thrown: see require().
  std::vector<Reply> call(const Commands& commands);
  /// One command; throws the typed error of an error answer.
  Reply call(std::initializer_list<std::string_view> words);
  /// A script; loads it when the server does not know it.
  Reply eval(const Script& script, std::span<const std::string> keys, std::span<const std::string> arguments);

  // For commands that block: send now, poll fd(), take the answer when it is there.
  void send(const Commands& commands);
  /// An answer that has arrived; nullopt: not yet.
  std::optional<Reply> poll_reply();
  /// -1 while it is not connected.
  int fd() const noexcept;

  void connect();
  void close() noexcept;
  bool connected() const noexcept;
  const Url& url() const noexcept { return url_; }

 private:
  Reply next_reply(Deadline deadline);
  std::optional<Reply> buffered_reply();
  void login();

  Url url_;
  Milliseconds connect_timeout_, answer_timeout_;
  std::unique_ptr<net::Stream> stream_;
  redisReader* reader_ = nullptr;
  std::unordered_set<std::string> loaded_;
  int pid_ = 0;
};

/// Throws the typed error of an error answer: NOAUTH, WRONGPASS, NOPERM are denied; LOADING, READONLY, MASTERDOWN
/// unavailable; OOM, MISCONF, BUSY overloaded; others invalid.
void require(const Reply& reply, std::string_view operation);

}  // namespace errand::redis
