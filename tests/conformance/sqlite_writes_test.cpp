// One scenario, interrupted at its first write to the file, at its second, and so on until it runs to its end: killed,
// with a full disk, with a failing one. SQLite lets its system calls be replaced, so every write is hit exactly.
#include "conformance/sqlite_support.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <sqlite3.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;

namespace {

// State of one child process.
int writes_left = 0;   // until it happens
int what_happens = 0;  // an errno, or 0: the process is killed

bool hit() {
  if (--writes_left != 0) return false;
  if (what_happens == 0) raise(SIGKILL);
  errno = what_happens;
  return true;
}
ssize_t hit_pwrite(int fd, const void* data, size_t size, off_t at) { return hit() ? -1 : pwrite(fd, data, size, at); }
ssize_t hit_write(int fd, const void* data, size_t size) { return hit() ? -1 : write(fd, data, size); }
int hit_truncate(int fd, off_t size) { return hit() ? -1 : ftruncate(fd, size); }

void interrupt_at(int write_number, int happens) {
  writes_left = write_number;
  what_happens = happens;
  sqlite3_vfs* files = sqlite3_vfs_find(nullptr);
  const auto replace = [&](const char* name, auto* function) {
    files->xSetSystemCall(files, name, reinterpret_cast<sqlite3_syscall_ptr>(function));
  };
  replace("pwrite", hit_pwrite);
  replace("pwrite64", hit_pwrite);
  replace("write", hit_write);
  replace("ftruncate", hit_truncate);
}

TaskResult success(const std::string& id, std::uint64_t token) {
  TaskResult result;
  result.id = id;
  result.state = std::string(state::success);
  result.done_at = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
  result.token = token;
  return result;
}

/// Five messages in one batch; then three succeed, one is dead, one is parked, and one follows, in one commit. `again`
/// runs a step until it succeeds.
template <class Again>
void scenario(const std::string& url, const Child::Say& say, const Again& again) {
  auto broker = open_broker(url);
  auto results = open_result_backend(url);
  std::vector<Envelope> batch;
  for (int i = 0; i < 5; ++i) batch.push_back(message("a" + std::to_string(i)));
  again([&] { broker->publish(batch); });
  say("published");
  std::unique_ptr<Consumer> consumer;
  std::vector<Delivery> held;
  again([&] {
    if (!consumer) consumer = broker->consume(from_q("worker", 2s));
    const auto got = consumer->next(5 - held.size(), Deadline::after(10s));
    held.insert(held.end(), got.begin(), got.end());
    if (held.size() < 5) throw Error({.kind = ErrorKind::unavailable, .operation = "test", .detail = "not all yet"});
  });
  const std::vector<Envelope> follow_ups{message("follows")};
  std::vector<TaskResult> outcomes;
  std::vector<Settlement> settlements;
  for (std::size_t i = 0; i < 5; ++i) {
    const auto late = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now() + 1h);
    if (i < 3) outcomes.push_back(success(id_of(held[i]), held[i].receipt.token));
    settlements.push_back({.receipt = held[i].receipt,
                           .kind = i < 3    ? Settlement::Kind::ack
                                   : i == 3 ? Settlement::Kind::dead_letter
                                            : Settlement::Kind::park,
                           .not_before = late,
                           .reason = "TEST"});
  }
  again([&] {
    if (!consumer->commit({follow_ups, outcomes, settlements}, results.get())) throw std::logic_error("step by step");
  });
  say("committed");
}

struct Found {
  std::multiset<std::string> ready;
  std::size_t dead = 0, parked = 0, results = 0;
};

Found look(const Folder& folder) {
  const std::string url = url_of(folder);
  Found found;
  auto broker = open_broker(url);
  auto consumer = broker->consume(from_q("heir"));
  const Deadline deadline = Deadline::after(20s);
  std::vector<Delivery> held;
  while (!deadline.passed()) {
    for (const Delivery& delivery : consumer->next(100, deadline.earlier(Deadline::after(50ms)))) {
      found.ready.insert(id_of(delivery));
      held.push_back(delivery);
    }
    const QueueInfo info = broker->inspect("q");
    if (info.ready == 0 && info.leased == held.size()) break;
  }
  const QueueInfo info = broker->inspect("q");
  found.dead = info.dead;
  found.parked = info.parked;
  auto results = open_result_backend(url);
  for (const char* id : {"a0", "a1", "a2", "a3", "a4"}) found.results += results->get(id).has_value() ? 1 : 0;
  return found;
}

}  // namespace

TEST_CASE("F076_killed at every write in turn, each transaction is done whole or not at all") {
  int kills = 0;
  for (int n = 1;; ++n) {
    CAPTURE(n);
    REQUIRE(n < 1'000);
    const Folder folder;
    Child child([&](const Child::Say& say) {
      interrupt_at(n, 0);
      scenario(url_of(folder), say, [](const auto& step) { step(); });
      return 0;
    });
    const std::vector<std::string> said = child.lines();
    const int end = child.wait();
    const Found found = look(folder);
    CHECK(integrity(folder) == "ok");
    const bool published = !found.ready.empty() || found.results > 0;
    if (!said.empty()) CHECK(published);
    const bool committed = found.results > 0;
    if (said.size() == 2) CHECK(committed);
    if (committed) {
      CHECK(found.results == 3);
      CHECK(found.dead == 1);
      CHECK(found.parked == 1);
      CHECK(found.ready == std::multiset<std::string>{"follows"});
    } else if (published) {
      CHECK(found.ready == std::multiset<std::string>{"a0", "a1", "a2", "a3", "a4"});
      CHECK(found.dead + found.parked == 0);
    }
    if (end == 0) break;
    REQUIRE(end == -SIGKILL);
    kills += 1;
  }
  const std::string report = "killed at each of " + std::to_string(kills) + " writes";
  MESSAGE(report);
  CHECK(kills > 10);
}

TEST_CASE("F074_F075_a full disk or a failing one at every write in turn is a typed error, and nothing is lost") {
  for (const int problem : {ENOSPC, EIO}) {
    CAPTURE(problem);
    int failures = 0;
    for (int n = 1;; ++n) {
      CAPTURE(n);
      REQUIRE(n < 1'000);
      const Folder folder;
      Child child([&](const Child::Say& say) {
        alarm(60);
        interrupt_at(n, problem);
        bool failed = false;
        scenario(url_of(folder), say, [&](const auto& step) {
          for (;;) {
            try {
              step();
              return;
            } catch (const Error& error) {
              const bool typed = error.retryable() || error.kind() == ErrorKind::in_doubt;
              if (!typed) throw;
              failed = failed || error.operation() != "test";
            }
          }
        });
        return writes_left > 0 ? 0 : failed ? 1 : 2;
      });
      const std::vector<std::string> said = child.lines();
      const int end = child.wait();
      REQUIRE((end >= 0 && end <= 2));
      CHECK(said.size() == 2);
      CHECK(integrity(folder) == "ok");
      // A step in doubt was done again: then there may be more, never less.
      const Found found = look(folder);
      CHECK(found.results == 3);
      CHECK(found.ready.count("follows") >= 1);
      CHECK(found.dead >= 1);
      CHECK(found.parked >= 1);
      failures += end == 1 ? 1 : 0;
      if (end == 0) break;  // it ran to its end before the n-th write
    }
    const std::string report =
        std::to_string(failures) + " of the writes failed the caller with " + (problem == EIO ? "EIO" : "ENOSPC");
    MESSAGE(report);
    CHECK(failures > 10);
  }
}
