// The connection against a server that fails by script: what was sent decides between unavailable and in doubt.
#include "wire/redis/connection.hpp"

#include "support/redis_server.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

using namespace errand;
using namespace std::chrono_literals;

namespace {

// Accepts connections one after another; each is answered by the next of its scripts and then closed.
class FakeServer {
 public:
  struct Step {
    std::size_t answers = 0;  // commands answered with +OK before the end
    std::string last;         // bytes sent for the one after, in pieces of one byte
    bool silent = false;      // stays open and says nothing more
  };
  explicit FakeServer(std::vector<Step> steps) : steps_(std::move(steps)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(listener_, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
    listen(listener_, 8);
    socklen_t size = sizeof any;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&any), &size);
    port_ = ntohs(any.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    over_ = true;
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  redis::Url url() const { return redis::parse_url("redis://127.0.0.1:" + std::to_string(port_)); }
  int connections() const { return connections_; }

 private:
  void serve() {
    for (const Step& step : steps_) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      connections_ += 1;
      std::size_t answered = 0;
      std::string got;
      char piece[4096];
      for (;;) {
        pollfd ready{fd, POLLIN, 0};
        if (poll(&ready, 1, 20) == 0) {
          if (over_) break;
          continue;
        }
        const ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0) break;
        got.append(piece, static_cast<std::size_t>(n));
        // Every command of the tests begins with an array's head at the start of a line.
        std::size_t commands = got.front() == '*' ? 1 : 0;
        for (std::size_t at = got.find("\n*"); at != std::string::npos; at = got.find("\n*", at + 1)) ++commands;
        for (; answered < std::min(commands, step.answers); ++answered) send(fd, "+OK\r\n", 5, MSG_NOSIGNAL);
        if (commands > step.answers) {
          for (const char c : step.last) send(fd, &c, 1, MSG_NOSIGNAL);
          if (!step.silent) break;
        }
      }
      close(fd);
    }
  }
  std::vector<Step> steps_;
  int listener_, port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

constexpr std::size_t kLogin = 3;  // PING, SELECT, CLIENT SETNAME

ErrorKind kind_of(redis::Connection& connection, redis::Effect effect) {
  redis::Commands commands;
  commands.add({"LPUSH", "q", "x"});
  try {
    connection.call(commands, effect);
  } catch (const Error& error) {
    CAPTURE(error.what());
    return error.kind();
  }
  return ErrorKind::bug;
}

}  // namespace

TEST_CASE("F002_a lost answer is in doubt, and repeatable commands only unavailable") {
  FakeServer server({{kLogin, "", false}, {kLogin, "", false}});
  redis::Connection connection(server.url());
  CHECK(kind_of(connection, redis::Effect::changes) == ErrorKind::in_doubt);
  CHECK(kind_of(connection, redis::Effect::repeatable) == ErrorKind::unavailable);
  CHECK(server.connections() == 2);
}

// The name has moved on to a new primary, but an old connection still leads to what is a replica now.
TEST_CASE("F046_a server that is no primary is left, so that the next call finds the one that is") {
  for (const char* answer :
       {"-READONLY You can't write against a read only replica.\r\n", "-MASTERDOWN Link with MASTER is down\r\n"}) {
    FakeServer server({{kLogin, answer, true}, {kLogin, "+OK\r\n", true}});
    redis::Connection connection(server.url());
    redis::Commands first, second;
    first.add({"LPUSH", "q", "x"});
    second.add({"LPUSH", "q", "x"});
    CHECK(connection.call(first, redis::Effect::changes).front().is_error());
    CHECK_FALSE(connection.connected());
    CHECK(connection.call(second, redis::Effect::changes).front().text == "OK");
    CHECK(server.connections() == 2);
  }
}

TEST_CASE("F002_of what was started, what was answered counts, and what was not is in doubt") {
  FakeServer server({{kLogin + 1, "", false}, {kLogin, "+OK\r\n", true}});
  redis::Connection connection(server.url());
  redis::Commands first, second, third;
  first.add({"LPUSH", "q", "x"});
  second.add({"LPUSH", "q", "y"});
  third.add({"LPUSH", "q", "z"});
  connection.start(first);
  CHECK(connection.answer().text == "OK");
  connection.start(second);
  try {
    connection.answer();
    FAIL("answered");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::in_doubt);
  }
  CHECK_FALSE(connection.connected());
  CHECK_THROWS_AS(connection.answer(), Error);  // nothing is due any more
  CHECK(connection.call(third, redis::Effect::changes).front().text == "OK");
}

TEST_CASE("an answer that nobody took is never taken for that of another command") {
  testing::RedisServer server;
  if (!server.runs()) return;
  redis::Connection connection(redis::parse_url(server.url()));
  redis::Commands started;
  started.add({"ECHO", "first"});
  started.add({"ECHO", "second"});
  connection.start(started);
  CHECK(connection.answer().text == "first");
  CHECK(connection.call({"ECHO", "other"}).text == "other");
  CHECK(connection.call({"ECHO", "another"}).text == "another");
}

TEST_CASE("a connection that broke while idle is made anew before anything is sent") {
  FakeServer server({{kLogin + 1, "+OK\r\n", false}, {kLogin + 2, "", true}});
  redis::Connection connection(server.url());
  redis::Commands first;
  first.add({"LPUSH", "q", "x"});
  first.add({"LPUSH", "q", "y"});
  CHECK(connection.call(first, redis::Effect::changes).size() == 2);
  // The fake closes now; whether the end is seen before sending depends on the kernel alone.
  const Deadline limit = Deadline::after(5s);
  while (server.connections() < 2 && !limit.passed()) {
    redis::Commands again;
    again.add({"LPUSH", "q", "z"});
    try {
      CHECK(connection.call(again, redis::Effect::changes).front().text == "OK");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::in_doubt);
    }
  }
  CHECK(server.connections() == 2);
}

TEST_CASE("F004_a server that accepts and never answers fails within the limits") {
  FakeServer server({{0, "", true}, {kLogin, "", true}});
  const auto before = std::chrono::steady_clock::now();
  redis::Connection connection(server.url(), {.connect_timeout = 150ms, .answer_timeout = 150ms});
  CHECK(kind_of(connection, redis::Effect::changes) == ErrorKind::unavailable);  // nothing but the login was sent
  CHECK(std::chrono::steady_clock::now() - before < 3s);
}

TEST_CASE("an answer that drips byte by byte is read") {
  FakeServer server({{kLogin, "$5\r\nhello\r\n", false}});
  redis::Connection connection(server.url());
  CHECK(connection.call({"GET", "k"}).text == "hello");
}

TEST_CASE("a server that is none says so") {
  FakeServer server({{0, "HTTP/1.1 400 Bad Request\r\n\r\n", false}});
  redis::Connection connection(server.url());
  try {
    connection.connect();
    FAIL("connected");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("is this a Redis server") != std::string::npos);
  }
}

TEST_CASE("F003_a port that refuses is unavailable and names the address") {
  redis::Connection connection(redis::parse_url("redis://:hush@127.0.0.1:" + std::to_string(testing::free_port())));
  try {
    connection.call({"PING"});
    FAIL("connected");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::unavailable);
    CHECK(std::string(error.what()).find("127.0.0.1") != std::string::npos);
    CHECK(std::string(error.what()).find("hush") == std::string::npos);
  }
}

// The parent's socket must never see the child's bytes: two processes on one connection read each other's answers.
TEST_CASE("F011_after fork the child makes its own connection and leaves the parent's alone") {
  testing::RedisServer server;
  if (!server.runs()) return;
  redis::Connection connection(redis::parse_url(server.url()));
  const std::string parent_id = std::to_string(connection.call({"CLIENT", "ID"}).integer);
  const pid_t child = fork();
  if (child == 0) {
    bool right = !connection.connected();
    for (int i = 0; i < 200 && right; ++i) {
      right = std::to_string(connection.call({"CLIENT", "ID"}).integer) != parent_id;
      right = right && connection.call({"ECHO", "child" + std::to_string(i)}).text == "child" + std::to_string(i);
    }
    connection.close();
    _exit(right ? 0 : 1);
  }
  for (int i = 0; i < 200; ++i) {
    CHECK(connection.call({"ECHO", "parent" + std::to_string(i)}).text == "parent" + std::to_string(i));
  }
  int status = 1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(std::to_string(connection.call({"CLIENT", "ID"}).integer) == parent_id);
}

TEST_CASE("a pipeline larger than every buffer neither blocks nor loses an answer") {
  testing::RedisServer server;
  if (!server.runs()) return;
  redis::Connection connection(redis::parse_url(server.url()));
  const std::string value(1u << 20, 'x');
  redis::Commands commands;
  for (int i = 0; i < 40; ++i) commands.begin("ECHO").word(value);
  const auto replies = connection.call(commands, redis::Effect::repeatable);
  REQUIRE(replies.size() == 40);
  for (const auto& reply : replies) CHECK(reply.text.size() == value.size());
}

TEST_CASE("TLS: a known authority and the right name are needed; the error says which is missing") {
  testing::RedisServer server({}, true);
  if (!server.runs()) return;
  redis::Connection good(redis::parse_url(server.tls_url()));
  CHECK(good.call({"ECHO", std::string(300'000, 'y')}).text.size() == 300'000);
  const auto refusal = [](const std::string& url, redis::ConnectionOptions options = {}) {
    redis::Connection connection(redis::parse_url(url), options);
    try {
      connection.connect();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("connected");
  };
  // The system's authorities are read first, which with ThreadSanitizer can take longer than a connection may.
  const std::string unknown =
      refusal("rediss://localhost:" + std::to_string(redis::parse_url(server.tls_url()).address.port),
              {.connect_timeout = Milliseconds{60'000}});
  CAPTURE(unknown);
  CHECK(unknown.find("ssl_ca_certs") != std::string::npos);
  CHECK(refusal(server.tls_url("127.0.0.1")).find("mismatch") != std::string::npos);
  CHECK(refusal(server.tls_url("127.0.0.1", "&ssl_check_hostname=false")) == "connected");
  CHECK(refusal(server.tls_url("127.0.0.1", "&ssl_cert_reqs=none")) == "connected");
  CHECK(refusal(server.tls_url("localhost", "&ssl_certfile=/nowhere.pem")).find("ssl_certfile") != std::string::npos);
  // Plain text to a TLS port, and TLS to a plain one.
  CHECK(refusal("rediss://localhost:" + std::to_string(server.port()) + "?ssl_cert_reqs=none").find("TLS") !=
        std::string::npos);
}

TEST_CASE("a forgotten script is loaded again") {
  testing::RedisServer server;
  if (!server.runs()) return;
  constexpr std::string_view kSource = "return redis.call('INCR', KEYS[1])";
  redis::Connection connection(redis::parse_url(server.url()));
  const redis::Reply sha = connection.call({"SCRIPT", "LOAD", kSource});
  const redis::Script script{kSource, sha.text};
  const std::vector<std::string> keys{"n"};
  for (int i = 1; i <= 3; ++i) {
    connection.call({"SCRIPT", "FLUSH"});
    redis::Commands commands;
    commands.eval(script, keys);
    CHECK(connection.eval(script, commands, "test", redis::Effect::changes).integer == i);
  }
}
