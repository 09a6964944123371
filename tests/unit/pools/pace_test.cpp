#include "pools/pace.hpp"

#include <doctest/doctest.h>

using namespace errand::pools;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t kMost = 128;

Pace after(std::chrono::nanoseconds duration, std::size_t bytes, int times = 100) {
  Pace pace;
  for (int i = 0; i < times; ++i) pace.ran(duration, bytes);
  return pace;
}
}  // namespace

TEST_CASE("nothing piles up before anything has run") {
  CHECK(Pace().depth(kMost) == 1);
  CHECK(Pace().depth(0) == 0);
}

TEST_CASE("short tasks pile up to two milliseconds of work, and never beyond the limit") {
  CHECK(after(1us, 500).depth(kMost) == kMost);
  CHECK(after(90us, 500).depth(kMost) == 22);
  CHECK(after(100us, 500).depth(4) == 4);
  CHECK(after(0ns, 0).depth(kMost) == kMost);
}

// GN-46: what waits behind a long task could run in another worker.
TEST_CASE("behind a long task nothing waits, also when all before it were short") {
  CHECK(after(1s, 500).depth(kMost) == 1);
  Pace pace = after(10us, 500);
  pace.ran(1s, 500);
  CHECK(pace.depth(kMost) == 1);
}

TEST_CASE("large messages do not pile up in memory") {
  CHECK(after(1us, 100'000).depth(kMost) == 10);
  CHECK(after(1us, 50'000'000).depth(kMost) == 1);
}
