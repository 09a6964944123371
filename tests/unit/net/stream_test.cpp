#include "net/stream.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

using namespace errand;
using namespace std::chrono_literals;

namespace {

struct Listener {
  explicit Listener(int family = AF_INET) : fd(socket(family, SOCK_STREAM, 0)) {
    if (family == AF_INET6) {
      sockaddr_in6 any{};
      any.sin6_family = AF_INET6;
      any.sin6_addr = in6addr_loopback;
      usable = bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
      socklen_t size = sizeof any;
      getsockname(fd, reinterpret_cast<sockaddr*>(&any), &size);
      port = ntohs(any.sin6_port);
    } else {
      sockaddr_in any{};
      any.sin_family = AF_INET;
      any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      usable = bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
      socklen_t size = sizeof any;
      getsockname(fd, reinterpret_cast<sockaddr*>(&any), &size);
      port = ntohs(any.sin_port);
    }
    listen(fd, 4);
  }
  ~Listener() { close(fd); }
  int fd;
  int port = 0;
  bool usable = false;
};

std::string failure(const net::Address& address, Milliseconds wait = 2s) {
  try {
    net::Stream stream(address, Deadline::after(wait));
  } catch (const Error& error) {
    return error.what();
  }
  return "connected";
}

}  // namespace

TEST_CASE("every address of a name is tried: localhost may be ::1 first while the server has only 127.0.0.1") {
  Listener v4;
  CHECK(failure({.host = "localhost", .port = v4.port}) == "connected");
  Listener v6(AF_INET6);
  if (v6.usable) CHECK(failure({.host = "::1", .port = v6.port}) == "connected");
}

TEST_CASE("why a connection was not made is said") {
  int port = 0;
  {
    Listener gone;
    port = gone.port;
  }
  CHECK(failure({.host = "127.0.0.1", .port = port}).find("refused") != std::string::npos);
  CHECK(failure({.host = "nobody.invalid", .port = 1}).find("resolve") != std::string::npos);
  CHECK(failure({.unix_path = "/nowhere/socket"}).find("No such file") != std::string::npos);
  CHECK(failure({.unix_path = std::string(200, 'x')}).find("at most 107 bytes") != std::string::npos);
  CHECK(net::Address{.host = "::1", .port = 7}.text() == "[::1]:7");
}

TEST_CASE("a Unix socket whose queue of callers is full fails at the deadline") {
  char folder[] = "/tmp/errand-net-XXXXXX";
  const std::string path = std::string(mkdtemp(folder)) + "/socket";
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  path.copy(where.sun_path, sizeof where.sun_path - 1);
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
  listen(fd, 0);
  const net::Stream first({.unix_path = path}, Deadline::after(1s));
  CHECK(failure({.unix_path = path}, 100ms).find("in time") != std::string::npos);
  close(fd);
  unlink(path.c_str());
  rmdir(folder);
}

TEST_CASE(
    "a wait ends at the deadline, at a wake-up, and when bytes come; and writing to a closed peer raises no signal") {
  signal(SIGPIPE, SIG_DFL);
  Listener listener;
  net::Stream stream({.host = "127.0.0.1", .port = listener.port}, Deadline::after(2s));
  const int peer = accept(listener.fd, nullptr, nullptr);
  const auto none = stream.wait({.read = true}, Deadline::after(20ms));
  CHECK_FALSE(none.readable);
  CHECK_FALSE(none.woken);
  const int wake = eventfd(1, 0);
  CHECK(stream.wait({.read = true}, Deadline::after(10s), wake).woken);
  close(wake);
  REQUIRE(send(peer, "hello", 5, 0) == 5);
  CHECK(stream.wait({.read = true}, Deadline::after(10s)).readable);
  char buffer[16];
  CHECK(std::string(buffer, stream.read_some(buffer, sizeof buffer)) == "hello");
  CHECK(stream.read_some(buffer, sizeof buffer) == 0);
  linger reset{1, 0};
  setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(peer);
  CHECK(stream.wait({.read = true}, Deadline::after(10s)).readable);
  CHECK_THROWS_AS(stream.read_some(buffer, sizeof buffer), Error);
  CHECK_THROWS_AS(stream.write_some("more"), Error);
}

TEST_CASE("a peer that does not read stops the writer without blocking it") {
  Listener listener;
  net::Stream stream({.host = "127.0.0.1", .port = listener.port}, Deadline::after(2s));
  const int peer = accept(listener.fd, nullptr, nullptr);
  const std::string much(1u << 20, 'x');
  std::size_t sent = 0;
  for (std::size_t n = 1; n > 0; sent += n) n = stream.write_some(much);
  CHECK(sent > 0);
  CHECK_FALSE(stream.wait({.read = false, .write = true}, Deadline::after(20ms)).writable);
  close(peer);
}
