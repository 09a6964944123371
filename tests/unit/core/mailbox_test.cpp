#include "core/mailbox.hpp"
#include "core/fd.hpp"

#include <doctest/doctest.h>

#include <poll.h>
#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

using namespace errand;
using namespace std::chrono_literals;
using core::Mailbox;

TEST_CASE("a drain takes everything in order, and the first post of a batch wakes") {
  int woken = 0;
  Mailbox<int> box("test.box", 10, [&] { ++woken; });
  for (int i = 0; i < 4; ++i) CHECK(box.try_post(int{i}));
  CHECK(woken == 1);
  std::vector<int> batch{99};
  CHECK(box.drain(batch) == 4);
  CHECK(batch == std::vector<int>{0, 1, 2, 3});
  CHECK(box.drain(batch) == 0);
  CHECK(batch.empty());
  CHECK(box.try_post(5));
  CHECK(woken == 2);
}

// A value that was refused must still be there: it may be the only copy of an outcome.
TEST_CASE("at the limit a post is refused, counted, and leaves the value with its owner") {
  Mailbox<std::unique_ptr<int>> box("test.box", 2);
  CHECK(box.try_post(std::make_unique<int>(1)));
  CHECK(box.try_post(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  CHECK_FALSE(box.try_post(std::move(third)));
  REQUIRE(third != nullptr);
  CHECK_FALSE(box.post(std::move(third), Deadline::now()));
  CHECK(*third == 3);
  CHECK(box.refused() == 2);
  CHECK(box.size() == box.limit());
  std::vector<std::unique_ptr<int>> batch;
  box.drain(batch);
  CHECK(box.try_post(std::move(third)));
  CHECK(third == nullptr);
}

TEST_CASE("a closed mailbox takes nothing and gives out what it has") {
  int woken = 0;
  Mailbox<int> box("test.box", 10, [&] { ++woken; });
  box.try_post(1);
  box.close();
  CHECK(woken == 2);
  CHECK_FALSE(box.try_post(2));
  CHECK_FALSE(box.post(3, Deadline::never()));
  CHECK(box.refused() == 0);
  std::vector<int> batch;
  CHECK(box.drain(batch) == 1);
  CHECK_FALSE(box.wait(Deadline::never()));
}

TEST_CASE("a post that waits goes on when there is room, and one that waits for ever ends with the mailbox") {
  Mailbox<int> box("test.box", 1);
  box.try_post(1);
  std::thread waits([&] { CHECK(box.post(2, Deadline::never())); });
  std::vector<int> batch;
  int taken = 0;
  while (taken < 2) {
    REQUIRE(box.wait(Deadline::after(10s)));
    box.drain(batch);
    taken += static_cast<int>(batch.size());
  }
  waits.join();
  box.try_post(3);
  std::thread never([&] { CHECK_FALSE(box.post(4, Deadline::never())); });
  box.close();
  never.join();
}

// The promise everything rests on: nothing is lost, nothing comes twice, and no wake-up is missed.
TEST_CASE("four threads post through a small mailbox and every value arrives once, in its thread's order") {
  constexpr int kThreads = 4;
  constexpr int kEach = 20'000;
  core::EventFd awake;
  Mailbox<int> box("test.box", 64, [&] { awake.signal(); });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&box, t] {
      for (int i = 0; i < kEach; ++i) {
        if (!box.post(t * kEach + i, Deadline::after(30s))) return;
      }
    });
  }
  std::vector<int> next(kThreads, 0);
  std::vector<int> batch;
  int total = 0;
  std::size_t largest = 0;
  while (total < kThreads * kEach) {
    pollfd wait{awake.fd(), POLLIN, 0};
    REQUIRE(poll(&wait, 1, 30'000) == 1);
    awake.clear();
    largest = std::max(largest, box.drain(batch));
    for (const int value : batch) {
      const int thread = value / kEach;
      if (value % kEach != next[static_cast<std::size_t>(thread)]) FAIL(value);
      next[static_cast<std::size_t>(thread)] += 1;
      total += 1;
    }
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(box.size() == 0);
  CHECK(largest <= box.limit());
}
