#include "wire/redis/connection.hpp"

#include "core/failpoint.hpp"
#include "core/text.hpp"

#include <unistd.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace errand::redis {

namespace {
constexpr std::size_t kReadAtOnce = 64u << 10;
}  // namespace

Connection::Connection(Url url, ConnectionOptions options) : url_(std::move(url)), options_(options) {}

Connection::~Connection() = default;

bool Connection::connected() const noexcept { return stream_ != nullptr && pid_ == getpid(); }

void Connection::close() noexcept {
  stream_.reset();  // in a forked child: its copy of the descriptor alone
  reader_ = ReplyReader();
  pushed_ = false;
  due_ = 0;
}

void Connection::connect() {
  if (connected()) return;
  close();
  const Deadline deadline = Deadline::after(options_.connect_timeout);
  try {
    stream_ = std::make_unique<net::Stream>(url_.address, deadline);
    pid_ = getpid();
    generation_ += 1;
    login(deadline);
  } catch (...) {
    close();
    throw;
  }
}

void Connection::login(Deadline deadline) {
  Commands commands;
  const bool has_login = !url_.password.empty();
  if (has_login && !url_.user.empty()) {
    commands.add({"AUTH", url_.user, url_.password});
  } else if (has_login) {
    commands.add({"AUTH", url_.password});
  }
  if (options_.resp3) commands.add({"HELLO", "3"});
  commands.add({"PING"});
  commands.add({"SELECT", std::to_string(url_.database)});
  commands.add({"CLIENT", "SETNAME", "errand"});
  const std::vector<Reply> replies = exchange(commands, deadline);
  std::size_t at = 0;
  if (has_login) require(replies[at++], "redis.login");
  const Reply* hello = options_.resp3 ? &replies[at++] : nullptr;
  require(replies[at++], "redis.login");
  require_database(replies[at++]);
  // The name is for CLIENT LIST only; a user that may not set it loses nothing.
  resp3_ = false;
  if (hello == nullptr) return;
  if (hello->is_error()) {
    const Error refused = error_of(*hello, "redis.login");
    if (refused.kind() == ErrorKind::denied) return;  // HELLO alone is not granted: RESP2 does
    throw Error(
        {.kind = ErrorKind::unsupported,
         .operation = "redis.login",
         .subject = url_.address.text(),
         .detail = "expected Redis 6.2 or newer, or Valkey; this server answered HELLO with: " + refused.detail()});
  }
  resp3_ = true;
  check_version(*hello);
}

void Connection::require_database(const Reply& selected) const {
  if (!selected.is_error()) return;
  const Error refused = error_of(selected, "redis.select");
  if (refused.kind() != ErrorKind::invalid) throw refused;
  throw Error({.kind = ErrorKind::unsupported,
               .operation = "redis.select",
               .subject = url_.address.text(),
               .detail = "expected a database that the server has, got " + std::to_string(url_.database) + ": " +
                         refused.detail(),
               .code = refused.code()});
}

void Connection::check_version(const Reply& hello) {
  for (std::size_t i = 0; i + 1 < hello.elements.size(); i += 2) {
    if (hello.elements[i].text != "version") continue;
    const std::string& version = hello.elements[i + 1].text;
    const char* const end = version.data() + version.size();
    int major = 0, minor = 0;
    const auto dot = std::from_chars(version.data(), end, major).ptr;
    if (dot != end) std::from_chars(dot + 1, end, minor);
    if (major > kOldestMajor || (major == kOldestMajor && minor >= kOldestMinor)) return;
    throw Error({.kind = ErrorKind::unsupported,
                 .operation = "redis.login",
                 .subject = url_.address.text(),
                 .detail = "expected Redis 6.2 or newer, or Valkey, got version " + core::escape_controls(version)});
  }
}

void Connection::timed_out(std::string_view what) const {
  throw Error({.kind = ErrorKind::unavailable,
               .operation = "redis",
               .subject = url_.address.text(),
               .detail = "no answer in time while " + std::string(what),
               .code = "ETIMEDOUT"});
}

// Takes what has come, without waiting. False: nothing has.
bool Connection::receive() {
  const std::span<char> room = reader_.room(kReadAtOnce);
  const std::size_t got = stream_->read_some(room.data(), room.size());
  reader_.filled(got);
  return got > 0;
}

// The next answer among what has come; pushes are counted on the way.
std::optional<Reply> Connection::parsed() {
  while (auto reply = reader_.next()) {
    if (reply->kind != Reply::Kind::push) return reply;
    pushed_ = true;
  }
  return std::nullopt;
}

void Connection::gave_up(const Error& error, bool in_doubt) const {
  throw Error({.kind = in_doubt ? ErrorKind::in_doubt : ErrorKind::unavailable,
               .operation = "redis",
               .subject = url_.address.text(),
               .detail = error.detail(),
               .code = error.code()});
}

void Connection::write(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const std::size_t n = stream_->write_some(bytes);
    if (n > 0) {
      sent_ = true;
      bytes.remove_prefix(n);
      continue;
    }
    // The server may want to be read from before it reads on.
    const net::Stream::Ready ready = stream_->wait({.read = true, .write = true}, deadline);
    if (!ready.readable && !ready.writable) timed_out("sending");
    if (ready.readable) receive();
  }
}

Reply Connection::read(Deadline deadline) {
  for (;;) {
    if (auto reply = parsed()) return std::move(*reply);
    if (receive()) continue;
    if (!stream_->wait({.read = true}, deadline).readable) timed_out("waiting for the server");
  }
}

std::vector<Reply> Connection::exchange(Commands& commands, Deadline deadline) {
  std::vector<Reply> replies;
  replies.reserve(commands.count());
  sent_ = false;
  write(commands.bytes(), deadline);
  ERRAND_FAILPOINT_INSIDE();
  while (replies.size() < commands.count()) replies.push_back(read(deadline));
  return replies;
}

// Known without sending anything: a server that restarted, or killed this client, has closed its end.
bool Connection::closed_by_peer() {
  if (!connected()) return false;
  try {
    while (receive()) {
    }
    return false;
  } catch (const Error&) {
    return true;
  }
}

namespace {
// A replica, or a primary that has been made one: the address may lead to another server by now.
bool is_wrong_server(const Reply& reply) {
  if (reply.is_array()) {
    for (const Reply& element : reply.elements) {
      if (element.is_error() && is_wrong_server(element)) return true;
    }
  }
  if (!reply.is_error()) return false;
  const std::string code = error_of(reply, "redis").code();
  return code == "READONLY" || code == "MASTERDOWN";
}
}  // namespace

std::vector<Reply> Connection::call(Commands& commands, Effect effect) {
  if (commands.empty()) return {};
  if (due_ > 0 || closed_by_peer()) close();
  bool fresh = !connected();
  for (;;) {
    connect();
    try {
      std::vector<Reply> replies = exchange(commands, Deadline::after(options_.answer_timeout));
      // The next call resolves and connects anew.
      if (std::any_of(replies.begin(), replies.end(), is_wrong_server)) close();
      return replies;
    } catch (const Error& error) {
      close();
      const bool broken = error.code() == "EOF" || error.code() == "ECONNRESET";
      const bool again = effect == Effect::repeatable || !sent_;
      if (again && broken && !fresh) {
        fresh = true;  // once, and only when the connection was an old one
        continue;
      }
      gave_up(error, !again);
    }
  }
}

void Connection::start(Commands& commands) {
  if (due_ == 0) {
    if (closed_by_peer()) close();
    connect();
    sent_ = wrong_server_ = false;
    due_by_ = Deadline::after(options_.answer_timeout);
  }
  due_ += commands.count();
  try {
    write(commands.bytes(), due_by_);
  } catch (const Error& error) {
    close();
    gave_up(error, sent_);
  }
}

Reply Connection::answer() {
  if (due_ == 0) throw Error({.kind = ErrorKind::bug, .operation = "redis.answer", .detail = "nothing was started"});
  try {
    ERRAND_FAILPOINT_INSIDE();
    Reply reply = read(due_by_);
    wrong_server_ = wrong_server_ || is_wrong_server(reply);
    if (--due_ == 0 && wrong_server_) close();
    return reply;
  } catch (const Error& error) {
    close();
    gave_up(error, sent_);
  }
}

Reply Connection::call(std::initializer_list<std::string_view> words, Effect effect) {
  Commands commands;
  commands.add(words);
  Reply reply = std::move(call(commands, effect).front());
  require(reply, "redis." + std::string(*words.begin()));
  return reply;
}

Reply Connection::eval(const Script& script, Commands& commands, std::string_view operation, Effect effect) {
  Reply reply = std::move(call(commands, effect).front());
  if (is_unknown_script(reply)) {
    call({"SCRIPT", "LOAD", script.source});
    reply = std::move(call(commands, effect).front());
  }
  require(reply, operation);
  return reply;
}

void Connection::send(Commands& commands) {
  connect();
  try {
    write(commands.bytes(), Deadline::after(options_.answer_timeout));
  } catch (...) {
    close();
    throw;
  }
}

bool Connection::wait(Deadline deadline, int wake_fd) {
  const net::Stream::Ready ready = stream_->wait({.read = true}, deadline, wake_fd);
  return ready.readable || ready.woken;
}

// Without waiting: `next` looks among what has come, until nothing more comes.
template <class Next>
std::optional<Reply> Connection::taken(Next next) {
  if (!connected()) return std::nullopt;
  try {
    for (;;) {
      if (auto reply = next()) return reply;
      if (!receive()) return std::nullopt;
    }
  } catch (...) {
    close();
    throw;
  }
}

std::optional<Reply> Connection::arrived() {
  return taken([this] { return parsed(); });
}

std::optional<Reply> Connection::arrived_or_pushed() {
  return taken([this] { return reader_.next(); });
}

bool Connection::take_pushed() {
  // Nothing but pushes comes while no answer is due; an answer that does is an answer to nothing.
  while (arrived()) {
  }
  return std::exchange(pushed_, false);
}

}  // namespace errand::redis
