#include "brokers/redis/server_clock.hpp"

#include <doctest/doctest.h>

using namespace errand;
using errand::redis::ServerClock;

namespace {
constexpr std::int64_t kDay = 1'700'000'000'000'000;  // the server's clock when our steady one shows 0
SteadyPoint at(std::int64_t us) { return SteadyPoint{} + Microseconds{us}; }
}  // namespace

TEST_CASE("a server's clock is unknown until it was heard") {
  ServerClock clock;
  CHECK_FALSE(clock.known());
  CHECK(clock.now_us(at(5)) == 0);
}

TEST_CASE("a slow answer does not set the server's clock back, a fast one sets it right") {
  ServerClock clock;
  clock.heard(kDay + 100, at(90), at(5'100));  // read at 100, heard 5 ms later
  CHECK(clock.now_us(at(10'000)) == kDay + 5'000);
  clock.heard(kDay + 20'000, at(19'900), at(20'050));
  CHECK(clock.now_us(at(30'000)) == kDay + 29'950);
  CHECK(clock.doubt() == Microseconds{60});             // asked at 90 in the first, 50 late in the second
  clock.heard(kDay + 40'000, at(39'000), at(240'000));  // 200 ms later: says nothing new
  CHECK(clock.now_us(at(250'000)) == kDay + 249'950);
}

TEST_CASE("a server's clock that was set is believed with the first answer that says so") {
  ServerClock clock;
  clock.heard(kDay + 1'000, at(900), at(1'100));
  SUBCASE("back by an hour") {
    clock.heard(kDay + 2'000 - 3'600'000'000, at(1'900), at(2'100));
    CHECK(clock.now_us(at(3'000)) == kDay + 2'900 - 3'600'000'000);
  }
  SUBCASE("ahead by an hour") {
    clock.heard(kDay + 2'000 + 3'600'000'000, at(1'900), at(2'100));
    CHECK(clock.now_us(at(3'000)) == kDay + 2'900 + 3'600'000'000);
  }
}

TEST_CASE("a clock that runs slower than ours is followed down") {
  ServerClock clock;
  for (std::int64_t t = 0; t < 1'000'000'000; t += 10'000'000) {
    const std::int64_t server = kDay + t - t / 10'000;  // 100 ppm slow
    clock.heard(server, at(t - 50), at(t + 50));
    CHECK(clock.now_us(at(t)) <= server);
    CHECK(clock.now_us(at(t)) + clock.doubt().count() >= server);
    CHECK(clock.doubt() <= Microseconds{100});
  }
}
