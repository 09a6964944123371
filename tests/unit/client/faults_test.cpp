// Brokers that are away, slow or silent; processes that fork. The clock moves only by the client's own pauses.
#include "client/breaker.hpp"
#include "fakes.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>

#include <condition_variable>
#include <functional>
#include <latch>
#include <string>
#include <thread>

using namespace errand;
using namespace std::chrono_literals;
using fakes::World;

namespace {

constexpr Task<int(int, int)> add{"tasks.add", {"x", "y"}};

ErrorKind kind_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::bug;  // nothing was thrown
}

std::string said(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void always(World& world, ErrorKind kind) { world.publish_script.assign(1000, kind); }

Value id_of(const Envelope& envelope) { return *envelope.message.headers.find("id"); }

}  // namespace

TEST_CASE(
    "F003: the breaker opens after five failures, lets one probe through every five seconds, and closes on success") {
  client::Breaker breaker;
  SteadyPoint now{1h};
  for (int i = 0; i < 4; ++i) {
    CHECK(breaker.allows(now));
    breaker.failed(now);
  }
  CHECK_FALSE(breaker.open());
  breaker.failed(now);
  CHECK(breaker.open());
  CHECK_FALSE(breaker.allows(now));
  CHECK_FALSE(breaker.allows(now + 4999ms));
  CHECK(breaker.allows(now + 5s));
  CHECK_FALSE(breaker.allows(now + 5s));  // one probe at a time
  breaker.failed(now + 6s);
  CHECK_FALSE(breaker.allows(now + 10s));
  CHECK(breaker.allows(now + 11s));
  breaker.succeeded();
  CHECK(breaker.allows(now + 11s));
  breaker.failed(now + 11s);
  CHECK_FALSE(breaker.open());
}

TEST_CASE("F003: a broker that comes back within the timeout is not noticed") {
  World world;
  world.publish_script = {ErrorKind::unavailable, ErrorKind::unavailable, ErrorKind::overloaded, std::nullopt};
  Client client({}, fakes::connections(world));
  const auto result = client.send(add(1, 2));
  REQUIRE(world.sent().size() == 1);
  CHECK(id_of(world.last()) == Value(result.id()));
  CHECK(world.publishes == 4);
  CHECK(world.brokers_opened == 3);  // an overloaded broker is still connected
  // The queue is declared again on a new connection: the server may have been replaced.
  CHECK(world.declared == std::vector<std::string>{"celery", "celery", "celery"});
}

TEST_CASE("F003: a broker that stays away is a typed error within the timeout, then at once") {
  World world;
  always(world, ErrorKind::unavailable);
  const auto clock = std::make_shared<ManualClock>();
  Client client({}, fakes::connections(world, clock));
  const SteadyPoint begin = clock->steady();
  CHECK(kind_of([&] { client.send(add(1, 2)); }) == ErrorKind::unavailable);
  CHECK(clock->steady() - begin <= 5s);
  CHECK(clock->steady() - begin > 3s);
  CHECK(world.publishes >= 5);

  const int before = world.publishes;
  const std::string text = said([&] { client.send(add(1, 2)); });
  CHECK(text ==
        "send: the broker failed 5 times in a row and is asked again every 5s; nothing was sent. Last: fake.publish: "
        "as the script says");
  CHECK(world.publishes == before);
  CHECK(kind_of([&] { client.revoke(TaskId("x")); }) == ErrorKind::unavailable);

  clock->advance(5s);
  CHECK(kind_of([&] { client.send(add(1, 2)); }) == ErrorKind::unavailable);
  CHECK(world.publishes == before + 1);  // the probe: one attempt
  world.publish_script.clear();
  CHECK(kind_of([&] { client.send(add(1, 2)); }) == ErrorKind::unavailable);  // not yet
  clock->advance(5s);
  CHECK_NOTHROW(client.send(add(1, 2)));
  CHECK_NOTHROW(client.send(add(1, 2)));
  CHECK(world.sent().size() == 2);
}

// The bytes left and the answer never came. Giving up could lose the task, a new id could run it twice.
TEST_CASE("F002: a lost answer is asked for once more with the same id") {
  World world;
  world.publish_script = {ErrorKind::in_doubt, std::nullopt};
  Client client({}, fakes::connections(world));
  const auto result = client.send(add(1, 2));
  REQUIRE(world.sent().size() == 2);
  CHECK(id_of(world.sent()[0]) == Value(result.id()));
  CHECK(id_of(world.sent()[1]) == Value(result.id()));
}

TEST_CASE("F002: two lost answers are in doubt, and the error names the id") {
  World world;
  always(world, ErrorKind::in_doubt);
  Client client({}, fakes::connections(world));
  const std::string text = said([&] { client.send(add(1, 2).with_id("my-id")); });
  CHECK(text.find("may or may not be queued") != std::string::npos);
  CHECK(text.find("(my-id, in doubt)") != std::string::npos);
  CHECK(world.publishes == 2);
}

// "Unavailable" promises that nothing was sent. After one lost answer nobody can promise that any more.
TEST_CASE("F002: what follows a lost answer never turns doubt into certainty") {
  for (const ErrorKind then :
       {ErrorKind::unavailable, ErrorKind::overloaded, ErrorKind::not_found, ErrorKind::denied}) {
    World world;
    always(world, then);
    world.publish_script.push_front(ErrorKind::in_doubt);
    Client client({}, fakes::connections(world));
    CHECK(kind_of([&] { client.send(add(1, 2)); }) == ErrorKind::in_doubt);
  }
  World back;
  back.publish_script = {ErrorKind::in_doubt, ErrorKind::unavailable, ErrorKind::unavailable, std::nullopt};
  Client client({}, fakes::connections(back));
  CHECK_NOTHROW(client.send(add(1, 2)));
}

TEST_CASE("F005: what cannot become right by waiting is not tried again") {
  for (const ErrorKind kind :
       {ErrorKind::not_found, ErrorKind::denied, ErrorKind::conflict, ErrorKind::invalid, ErrorKind::unsupported}) {
    World world;
    always(world, kind);
    Client client({}, fakes::connections(world));
    for (int i = 0; i < 7; ++i) CHECK(kind_of([&] { client.send(add(1, 2)); }) == kind);
    CHECK(world.publishes == 7);  // nor does it open the breaker
    CHECK(world.brokers_opened == 1);
  }
}

TEST_CASE("a lost answer to a declaration leaves nothing in doubt") {
  World world;
  world.declare_script.assign(1000, ErrorKind::in_doubt);
  Client client({}, fakes::connections(world));
  CHECK(said([&] { client.send(add(1, 2)); }).find("may or may not") == std::string::npos);
  CHECK(world.publishes == 0);
  World back;
  back.declare_script = {ErrorKind::in_doubt, ErrorKind::unavailable};
  Client again({}, fakes::connections(back));
  CHECK_NOTHROW(again.send(add(1, 2)));
}

TEST_CASE("threads share one connection, never at the same time") {
  World world;
  Client client({}, fakes::connections(world));
  constexpr int kThreads = 8, kEach = 40;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) client.send(add(1, n));
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(world.sent().size() == kThreads * kEach);
  CHECK(world.misuses == 0);
  CHECK(world.brokers_opened == 1);
}

namespace {
/// Holds a thread inside publish() until released, or until a minute has passed.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool entered = false, open = false;
  void pass() {
    std::unique_lock lock(mutex);
    entered = true;
    changed.notify_all();
    changed.wait_for(lock, 1min, [&] { return open; });
  }
  void await_entry() {
    std::unique_lock lock(mutex);
    CHECK(changed.wait_for(lock, 1min, [&] { return entered; }));
  }
  void release() {
    const std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
};
}  // namespace

TEST_CASE("F004: a publish that hangs stops neither results nor others beyond their own timeout") {
  World world;
  Gate gate;
  world.inside_publish = [&] { gate.pass(); };
  world.records["done"] = TaskResult{.id = "done", .state = "SUCCESS", .result_json = "5"};
  Client client({.publish_timeout = 30ms}, fakes::connections(world));
  std::thread stuck([&] { client.send(add(1, 2)); });
  gate.await_entry();
  CHECK(client.result("done").get<int>(10s) == 5);
  CHECK(said([&] {
          client.send(add(3, 4));
        }).find("expected a turn on the broker's connection within publish_timeout") != std::string::npos);
  gate.release();
  stuck.join();
  CHECK(world.sent().size() == 1);
}

// F011: sharing a socket with the parent would mix the frames of two processes on one connection.
TEST_CASE(
    "F011: a forked child opens its own connections and leaves the parent's alone, even while a thread was sending") {
  World world;
  Gate gate;
  auto client = std::make_unique<Client>(ClientOptions{}, fakes::connections(world));
  client->send(add(1, 2));
  world.records["done"] = TaskResult{.id = "done", .state = "SUCCESS", .result_json = "5"};
  CHECK(client->result("done").get<int>(1s) == 5);
  CHECK(world.brokers_opened == 1);

  std::atomic<bool> block{true};
  world.inside_publish = [&] {
    if (block) gate.pass();
  };
  std::thread busy([&] { client->send(add(3, 4)); });  // holds the connection's turn while the process forks
  gate.await_entry();
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    block = false;
    int verdict = 0;
    try {
      client->send(add(5, 6));
      const int value = client->result("done").get<int>(1s);
      const bool fresh = world.brokers_opened == 2 && world.backends_opened == 2 && value == 5;
      client.reset();
      verdict = fresh && world.misuses == 0 ? 42 : 1;
    } catch (...) {
      verdict = 2;
    }
    _exit(verdict);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  gate.release();
  busy.join();
  CHECK_NOTHROW(client->send(add(7, 8)));
  CHECK(world.brokers_opened == 1);
  CHECK(world.misuses == 0);
}
