// What tells a copy of a message from the broker's second delivery of it.
#include "signing/nonces.hpp"

#include <doctest/doctest.h>

using namespace errand;
using namespace std::chrono_literals;
using signing::Nonces;

namespace {
Receipt receipt(const std::string& id, std::uint64_t token) { return {.id = id, .token = token, .queue = "q"}; }
const SteadyPoint kStart{1h};
}  // namespace

TEST_CASE("F124_a nonce is good once: not while its message is held, and not after it has ended") {
  Nonces nonces(10, 10min);
  CHECK(nonces.take("n", receipt("a", 1), false, kStart));
  CHECK_FALSE(nonces.take("n", receipt("b", 2), false, kStart));
  nonces.spend(receipt("a", 1), kStart);
  CHECK_FALSE(nonces.take("n", receipt("a", 3), false, kStart));
  CHECK_FALSE(nonces.take("n", receipt("c", 4), false, kStart + 9min));
}

TEST_CASE("the broker's second delivery of a message is the same message") {
  Nonces nonces(10, 10min);
  CHECK(nonces.take("n", receipt("a", 1), false, kStart));
  CHECK(nonces.take("n", receipt("a", 2), false, kStart + 1min));  // its lease had run out
  nonces.spend(receipt("a", 1), kStart);                           // the late settlement of the first does not count
  CHECK(nonces.take("n", receipt("a", 3), false, kStart + 2min));
  nonces.release(receipt("a", 3));  // parked
  CHECK(nonces.take("n", receipt("b", 4), false, kStart + 3min));
}

TEST_CASE("what the broker calls its second delivery may have another name, as long as the first has not ended") {
  Nonces nonces(10, 10min);
  CHECK(nonces.take("n", receipt("a", 1), false, kStart));
  CHECK(nonces.take("n", receipt("a!2", 2), true, kStart));  // this process stood still, and does not know yet
  nonces.release(receipt("a", 1));                           // now it does
  nonces.spend(receipt("a!2", 2), kStart);
  CHECK_FALSE(nonces.take("n", receipt("a!3", 3), true, kStart));
}

TEST_CASE("what is remembered ends with the window and with the limit") {
  Nonces nonces(3, 10min);
  for (int i = 0; i < 5; ++i) {
    CHECK(nonces.take(std::to_string(i), receipt(std::to_string(i), 1), false, kStart));
    nonces.spend(receipt(std::to_string(i), 1), kStart + Milliseconds(i));
  }
  CHECK(nonces.size() == 3);
  CHECK(nonces.take("0", receipt("0", 2), false, kStart + 1min));  // the oldest was forgotten
  CHECK_FALSE(nonces.take("4", receipt("4", 2), false, kStart + 1min));
  CHECK(nonces.take("4", receipt("4", 3), false, kStart + 11min));
  CHECK(nonces.size() == 2);
}
