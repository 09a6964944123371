#include "wire/redis/connection.hpp"

#include "core/log.hpp"

#include <array>
#include <hiredis/hiredis.h>
#include <openssl/sha.h>
#include <unistd.h>

namespace errand::redis {

namespace {

constexpr std::size_t kMaxReplyBytes = 512u << 20;  // what a Redis value can be at most

Reply take(const redisReply& from) {
  Reply reply;
  switch (from.type) {
    case REDIS_REPLY_STRING: reply.kind = Reply::Kind::text; break;
    case REDIS_REPLY_STATUS: reply.kind = Reply::Kind::status; break;
    case REDIS_REPLY_ERROR: reply.kind = Reply::Kind::error; break;
    case REDIS_REPLY_INTEGER:
      reply.kind = Reply::Kind::integer;
      reply.integer = from.integer;
      return reply;
    case REDIS_REPLY_ARRAY:
      reply.kind = Reply::Kind::array;
      reply.elements.reserve(from.elements);
      for (std::size_t i = 0; i < from.elements; ++i) reply.elements.push_back(take(*from.element[i]));
      return reply;
    default: return reply;
  }
  reply.text.assign(from.str, static_cast<std::size_t>(from.len));
  return reply;
}

std::string sha1_hex(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

}  // namespace

Script::Script(std::string_view text) : source(text), sha(sha1_hex(text)) {}

void Commands::begin(std::size_t words) {
  bytes_ += '*' + std::to_string(words) + "\r\n";
  count_ += 1;
}
void Commands::word(std::string_view text) {
  bytes_ += '$' + std::to_string(text.size()) + "\r\n";
  bytes_ += text;
  bytes_ += "\r\n";
}
void Commands::add(std::initializer_list<std::string_view> words) {
  begin(words.size());
  for (const std::string_view one : words) word(one);
}
void Commands::add(std::span<const std::string> words) {
  begin(words.size());
  for (const std::string& one : words) word(one);
}
void Commands::eval(const Script& script, std::span<const std::string> keys, std::span<const std::string> arguments) {
  begin(3 + keys.size() + arguments.size());
  word("EVALSHA");
  word(script.sha);
  word(std::to_string(keys.size()));
  for (const std::string& key : keys) word(key);
  for (const std::string& argument : arguments) word(argument);
}

Connection::Connection(Url url, Milliseconds connect_timeout, Milliseconds answer_timeout)
    : url_(std::move(url)), connect_timeout_(connect_timeout), answer_timeout_(answer_timeout) {}

Connection::~Connection() { close(); }

bool Connection::connected() const noexcept { return stream_ != nullptr && pid_ == getpid(); }
int Connection::fd() const noexcept { return stream_ ? stream_->fd() : -1; }

void Connection::close() noexcept {
  // In a forked child this closes only the child's copy of the descriptor; nothing is written to it.
  if (stream_ && pid_ != getpid()) {
    ::close(stream_->fd());
    static_cast<void>(stream_.release());
  }
  stream_.reset();
  if (reader_ != nullptr) redisReaderFree(reader_);
  reader_ = nullptr;
  loaded_.clear();
}

void Connection::connect() {
  if (connected()) return;
  close();
  stream_ = std::make_unique<net::Stream>(url_.address, Deadline::after(connect_timeout_));
  reader_ = redisReaderCreate();
  pid_ = getpid();
  try {
    login();
  } catch (...) {
    close();
    throw;
  }
}

void Connection::login() {
  Commands commands;
  if (!url_.password.empty() && !url_.user.empty()) commands.add({"AUTH", url_.user, url_.password});
  else if (!url_.password.empty()) commands.add({"AUTH", url_.password});
  if (url_.database != 0) commands.add({"SELECT", std::to_string(url_.database)});
  commands.add({"PING"});
  const Deadline deadline = Deadline::after(connect_timeout_);
  stream_->write_all(commands.bytes(), deadline);
  for (std::size_t i = 0; i < commands.count(); ++i) {
    const Reply reply = next_reply(deadline);
    require(reply, "redis.connect");
  }
}

std::optional<Reply> Connection::buffered_reply() {
  void* raw = nullptr;
  if (redisReaderGetReply(reader_, &raw) != REDIS_OK) {
    const std::string why = reader_->errstr;
    close();
    throw Error({.kind = ErrorKind::in_doubt, .operation = "redis", .subject = url_.address.text(), .detail = "the server does not speak Redis's protocol: " + why});
  }
  if (raw == nullptr) return std::nullopt;
  const std::unique_ptr<void, decltype(&freeReplyObject)> owned(raw, freeReplyObject);
  return take(*static_cast<const redisReply*>(raw));
}

Reply Connection::next_reply(Deadline deadline) {
  std::string bytes;
  std::size_t total = 0;
  for (;;) {
    if (auto reply = buffered_reply()) return std::move(*reply);
    bytes.clear();
    stream_->read_some(bytes, deadline);
    total += bytes.size();
    if (total > kMaxReplyBytes) {
      throw Error({.kind = ErrorKind::overloaded, .operation = "redis", .subject = url_.address.text(), .detail = "expected an answer of at most 512 MiB, got more"});
    }
    redisReaderFeed(reader_, bytes.data(), bytes.size());
  }
}

std::vector<Reply> Connection::call(const Commands& commands) {
  std::vector<Reply> replies;
  if (commands.empty()) return replies;
  connect();
  replies.reserve(commands.count());
  try {
    const Deadline deadline = Deadline::after(answer_timeout_);
    stream_->write_all(commands.bytes(), deadline);
    while (replies.size() < commands.count()) replies.push_back(next_reply(deadline));
  } catch (const Error& error) {
    close();
    // Some of it may have reached the server: whoever called must not believe that nothing happened.
    throw Error({.kind = ErrorKind::in_doubt, .operation = "redis", .subject = url_.address.text(), .detail = error.detail(), .code = error.code()});
  }
  return replies;
}

Reply Connection::call(std::initializer_list<std::string_view> words) {
  Commands commands;
  commands.add(words);
  Reply reply = std::move(call(commands).front());
  require(reply, "redis." + std::string(*words.begin()));
  return reply;
}

Reply Connection::eval(const Script& script, std::span<const std::string> keys, std::span<const std::string> arguments) {
  connect();
  Commands commands;
  if (loaded_.insert(script.sha).second) commands.add({"SCRIPT", "LOAD", script.source});
  commands.eval(script, keys, arguments);
  std::vector<Reply> replies = call(commands);
  if (replies.back().is_error() && replies.back().text.rfind("NOSCRIPT", 0) == 0) {
    // The server was restarted or flushed its scripts.
    Commands again;
    again.add({"SCRIPT", "LOAD", script.source});
    again.eval(script, keys, arguments);
    replies = call(again);
  }
  for (const Reply& reply : replies) require(reply, "redis.script");
  return std::move(replies.back());
}

void Connection::send(const Commands& commands) {
  connect();
  try {
    stream_->write_all(commands.bytes(), Deadline::after(answer_timeout_));
  } catch (...) {
    close();
    throw;
  }
}

std::optional<Reply> Connection::poll_reply() {
  if (!connected()) return std::nullopt;
  for (;;) {
    if (auto reply = buffered_reply()) return reply;
    std::string bytes;
    try {
      stream_->read_some(bytes, Deadline::now());
    } catch (const Error& error) {
      if (error.code() == "ETIMEDOUT") return std::nullopt;
      close();
      throw;
    }
    redisReaderFeed(reader_, bytes.data(), bytes.size());
  }
}

void require(const Reply& reply, std::string_view operation) {
  if (!reply.is_error()) return;
  const std::string_view text = reply.text;
  const std::string code(text.substr(0, text.find(' ')));
  ErrorKind kind = ErrorKind::invalid;
  std::string detail = log::redact(text);
  if (code == "NOAUTH" || code == "WRONGPASS" || code == "NOPERM" || text.find("invalid password") != std::string_view::npos ||
      text.find("without any password configured") != std::string_view::npos) {
    kind = ErrorKind::denied;
    detail += "; check user, password and the ACL's commands and keys";
  } else if (code == "LOADING" || code == "READONLY" || code == "MASTERDOWN" || code == "CLUSTERDOWN" || code == "TRYAGAIN" || code == "UNKILLABLE") {
    kind = ErrorKind::unavailable;
  } else if (code == "OOM" || code == "MISCONF" || code == "BUSY" || code == "NOREPLICAS" || text.find("OOM command not allowed") != std::string_view::npos) {
    kind = ErrorKind::overloaded;
  } else if (code == "WRONGTYPE") {
    kind = ErrorKind::conflict;
    detail += "; a key of that name holds something else";
  }
  throw Error({.kind = kind, .operation = std::string(operation), .detail = std::move(detail), .code = code});
}

}  // namespace errand::redis
