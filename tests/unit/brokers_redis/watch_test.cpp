// The watch over many keys, with a real server.
#include "brokers/redis/watch.hpp"

#include "support/redis_server.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>

using namespace errand;
using namespace std::chrono_literals;

namespace {

struct Rig {
  testing::RedisServer server{{}};
  redis::Connection watched{redis::parse_url(server.url()), {.resp3 = true}};
  redis::Connection raw{redis::parse_url(server.url())};
  redis::Watch watch{watched, {"q"}, {"q:parked"}};
};

// Why it was refused, or nothing; a reset is no refusal.
std::string refusal(redis::Watch& watch) {
  try {
    watch.arm();
  } catch (const Error& error) {
    if (!error.retryable()) return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("a watch is quiet until one of its keys changes") {
  Rig rig;
  if (!rig.server.runs()) return;
  REQUIRE(rig.watch.arm());
  CHECK(rig.watch.quiet());
  rig.raw.call({"LPUSH", "q", "something"});
  CHECK(rig.watch.wait(Deadline::after(10s)) == redis::Watch::End::changed);
  CHECK_FALSE(rig.watch.arm());
}

// A question that is cut off is repeated on a new connection, which tracks nothing yet: the server refuses it there.
TEST_CASE("F048_a watch that is reset at any moment says so or is armed anew, and is never refused for good") {
  Rig rig;
  if (!rig.server.runs()) return;
  constexpr int kArmings = 3'000;
  std::atomic<int> begun = 0;
  std::thread killer([&] {
    // One reset for each arming, at another moment of it every time.
    for (int i = 1; i <= kArmings; ++i) {
      while (begun < i) {
      }
      const Deadline moment = Deadline::after(Microseconds{i % 150});
      while (!moment.passed()) {
      }
      rig.raw.call({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    }
  });
  std::string refused;
  for (int i = 1; i <= kArmings; ++i) {
    begun = i;
    if (const std::string why = refusal(rig.watch); !why.empty()) refused = why;
  }
  killer.join();
  CHECK(refused == "");
  // The first finds the last reset, the second arms on a new connection.
  for (int i = 0; i < 2; ++i) CHECK(refusal(rig.watch) == "");
  CHECK(rig.watch.arm());
  rig.raw.call({"LPUSH", "q", "something"});
  CHECK(rig.watch.wait(Deadline::after(10s)) == redis::Watch::End::changed);
}
