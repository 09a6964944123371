// The SQLite file under kills, full disks, damage, deletion: all or nothing, typed errors, no crash.
#include "conformance/sqlite_support.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <chrono>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// A parent that kills as soon as it has read an answer always hits the same spot, just before the next transaction
// begins. So each round waits a little longer, by the clock and without giving up the processor for long.
void kill_later(const Child& child, int round) {
  const auto at = std::chrono::steady_clock::now() + std::chrono::microseconds{round * 73 % 1'500};
  while (std::chrono::steady_clock::now() < at) std::this_thread::yield();
  child.kill(SIGKILL);
}

// Everything a program may do with a store; errors are fine, anything else is not.
void use(const std::string& url) {
  const auto attempt = [](const auto& what) {
    try {
      what();
    } catch (const Error&) {
      // Typed, as promised.
    }
  };
  attempt([&] {
    auto broker = open_broker(url);
    attempt([&] { broker->queues(); });
    attempt([&] { broker->inspect("q"); });
    attempt([&] { broker->dead_letters("q", 10, ""); });
    attempt([&] { broker->publish(std::vector{message("more")}); });
    attempt([&] {
      auto consumer = broker->consume(from_q("x"));
      for (int i = 0; i < 5; ++i) ack_all(*consumer, consumer->next(20, Deadline::now()));
    });
    attempt([&] { broker->purge("q"); });
  });
  attempt([&] {
    auto results = open_result_backend(url);
    results->get("t");
    TaskResult result;
    result.id = "t";
    results->put(std::span(&result, 1));
  });
}

}  // namespace

TEST_CASE("F076_a sender killed at any moment leaves whole batches, and every one it was told is safe") {
  constexpr int kRounds = 40, kBatch = 5;
  const Folder folder;
  const std::string url = url_of(folder);
  open_broker(url)->declare({{QueueSpec{.name = "q"}}});
  std::set<std::string> promised;
  for (int round = 0; round < kRounds; ++round) {
    Child sender([&](const Child::Say& say) {
      auto broker = open_broker(url);
      for (int i = 0;; ++i) {
        const std::string name = std::to_string(round) + "-" + std::to_string(i);
        std::vector<Envelope> batch;
        for (int k = 0; k < kBatch; ++k) batch.push_back(message(name + "/" + std::to_string(k)));
        broker->publish(batch);
        say(name);
      }
      return 0;
    });
    // Killed after another number of answers each time, so somewhere inside the transaction that follows.
    for (int i = 0; i <= round % 3; ++i) promised.insert(sender.line());
    kill_later(sender, round);
    for (const std::string& late : sender.lines()) promised.insert(late);
    CHECK(sender.wait() == -SIGKILL);
  }
  CHECK(integrity(folder) == "ok");
  std::map<std::string, int> found;
  for (const std::string& id : drain(url)) found[id.substr(0, id.find('/'))] += 1;
  for (const auto& [name, count] : found) {
    CAPTURE(name);
    CHECK(count == kBatch);
  }
  for (const std::string& name : promised) {
    CAPTURE(name);
    CHECK(found.count(name) == 1);
  }
  CHECK(promised.size() >= kRounds);
}

// I1 and I2: each message is either done, with its result, or still there, without one.
TEST_CASE("F016_a worker killed at any moment leaves no acknowledged message without its result") {
  constexpr int kMessages = 1'200, kRounds = 40;
  const Folder folder;
  const std::string url = url_of(folder);
  std::vector<Envelope> batch;
  for (int i = 0; i < kMessages; ++i) batch.push_back(message(std::to_string(i)));
  open_broker(url)->publish(batch);
  for (int round = 0; round < kRounds; ++round) {
    Child worker([&](const Child::Say& say) {
      auto broker = open_broker(url);
      auto results = open_result_backend(url);
      auto consumer = broker->consume(from_q("worker"));
      for (;;) {
        const auto got = consumer->next(3, Deadline::after(20s));
        std::vector<TaskResult> outcomes;
        std::vector<Settlement> settlements;
        for (const Delivery& delivery : got) {
          TaskResult result;
          result.id = id_of(delivery);
          result.state = std::string(state::success);
          result.token = delivery.receipt.token;
          outcomes.push_back(std::move(result));
          settlements.push_back({.receipt = delivery.receipt});
        }
        if (!consumer->commit({{}, outcomes, settlements}, results.get())) return 1;
        say("done");
      }
    });
    for (int i = 0; i <= round % 3; ++i) CHECK(worker.line() == "done");
    kill_later(worker, round);
    CHECK(worker.wait() == -SIGKILL);
  }
  // What the last one held comes back as soon as its death is noticed.
  std::set<std::string> waiting;
  auto broker = open_broker(url);
  auto consumer = broker->consume(from_q("heir"));
  const Deadline deadline = Deadline::after(20s);
  while (!deadline.passed()) {
    const auto got = consumer->next(100, deadline.earlier(Deadline::after(100ms)));
    for (const Delivery& delivery : got) CHECK(waiting.insert(id_of(delivery)).second);
    ack_all(*consumer, got);
    const QueueInfo info = broker->inspect("q");
    if (info.ready + info.leased == 0) break;
  }
  auto results = open_result_backend(url);
  int done = 0;
  for (int i = 0; i < kMessages; ++i) {
    const std::string id = std::to_string(i);
    const bool stored = results->get(id).has_value();
    done += stored ? 1 : 0;
    CAPTURE(id);
    CHECK(stored != (waiting.count(id) == 1));
  }
  CHECK(done >= kRounds);
  CHECK(integrity(folder) == "ok");
}

// The largest size of a file stands for the disk: writes beyond it fail in the middle, and later there is room again.
TEST_CASE("F074_a file that cannot grow refuses typed, keeps what it accepted, and goes on when there is room") {
  const Folder folder;
  const std::string url = url_of(folder);
  Child child([&](const Child::Say& say) {
    signal(SIGXFSZ, SIG_IGN);
    auto broker = open_broker(url);
    auto results = open_result_backend(url);
    broker->publish(std::vector{message("first")});
    const rlimit tight{600'000, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &tight) != 0) return 1;
    std::size_t accepted = 1, refused = 0;
    for (int i = 0; i < 400; ++i) {
      Envelope large = message("m" + std::to_string(i));
      large.message.body.resize(20'000);
      try {
        broker->publish(std::vector{large});
        accepted += 1;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::overloaded && error.kind() != ErrorKind::unavailable &&
            error.kind() != ErrorKind::in_doubt)
          return 2;
        refused += 1;
      }
    }
    if (refused == 0) return 3;
    const rlimit wide{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &wide) != 0) return 4;
    broker->publish(std::vector{message("last")});
    accepted += 1;
    TaskResult result;
    result.id = "t";
    results->put(std::span(&result, 1));
    say(std::to_string(accepted));
    return 0;
  });
  const std::string accepted = child.line();
  REQUIRE(child.wait() == 0);
  const auto ids = drain(url);
  const std::set<std::string> unique(ids.begin(), ids.end());
  CHECK(unique.size() == ids.size());
  // One that was refused in doubt may be there; one that was accepted must be.
  CHECK(ids.size() >= std::stoul(accepted));
  CHECK(unique.count("first") == 1);
  CHECK(unique.count("last") == 1);
  CHECK(integrity(folder) == "ok");
}

TEST_CASE("F077_a damaged file is an error and never a crash") {
  const Folder folder;
  {
    auto broker = open_broker(url_of(folder));
    std::vector<Envelope> batch;
    for (int i = 0; i < 200; ++i) batch.push_back(message(std::to_string(i)));
    broker->publish(batch);
    auto consumer = broker->consume(from_q("x"));
    for (const Delivery& delivery : consumer->next(3, Deadline::now())) {
      consumer->settle(
          std::vector{Settlement{.receipt = delivery.receipt, .kind = Settlement::Kind::dead_letter, .reason = "X"}});
    }
  }
  const std::string whole = read_file(folder.file());
  REQUIRE(whole.size() > 20'000);
  std::mt19937 random(77);
  std::vector<std::string> damaged;
  for (int i = 0; i < 60; ++i) {
    std::string bytes = whole;
    const int flips = 1 + static_cast<int>(random() % 40);
    for (int k = 0; k < flips; ++k) {
      // Half of them in the header and the schema, where they do most harm.
      const std::size_t at = random() % (k % 2 == 0 ? std::size_t{8'192} : bytes.size());
      bytes[at] = static_cast<char>(random());
    }
    damaged.push_back(std::move(bytes));
  }
  for (const std::size_t size : {std::size_t{1}, std::size_t{15}, std::size_t{16}, std::size_t{100}, std::size_t{4'096},
                                 whole.size() / 2, whole.size() - 1}) {
    damaged.push_back(whole.substr(0, size));
  }
  for (std::size_t i = 0; i < damaged.size(); ++i) {
    CAPTURE(i);
    const Folder copy;
    write_file(copy.file(), damaged[i]);
    Child user([&](const Child::Say&) {
      alarm(60);
      use(url_of(copy));
      return 0;
    });
    CHECK(user.wait() == 0);
    CHECK(std::filesystem::file_size(copy.file()) > 0);
  }
}

TEST_CASE("F077_a damaged log next to a whole file is ignored or an error, and what was checkpointed stays") {
  const Folder folder;
  auto broker = open_broker(url_of(folder));
  std::vector<Envelope> batch;
  for (int i = 0; i < 50; ++i) batch.push_back(message(std::to_string(i)));
  broker->publish(batch);
  const std::string file = read_file(folder.file());
  const std::string log = read_file(folder.file() + "-wal");
  REQUIRE(!log.empty());
  std::mt19937 random(78);
  for (int i = 0; i < 30; ++i) {
    CAPTURE(i);
    std::string bytes = log;
    if (i % 3 == 0) bytes.resize(random() % bytes.size());
    for (int k = 0; k < 5 && !bytes.empty(); ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    const Folder copy;
    write_file(copy.file(), file);
    write_file(copy.file() + "-wal", bytes);
    Child user([&](const Child::Say&) {
      alarm(60);
      use(url_of(copy));
      return 0;
    });
    CHECK(user.wait() == 0);
  }
}

TEST_CASE("F078_a file that is deleted or replaced while open is noticed within five seconds") {
  for (const bool replace : {false, true}) {
    CAPTURE(replace);
    const Folder folder;
    auto broker = open_broker(url_of(folder));
    broker->publish(std::vector{message("a")});
    auto consumer = broker->consume(from_q("x"));
    std::filesystem::rename(folder.file(), folder.file("moved.db"));
    if (replace) {
      std::filesystem::rename(folder.file() + "-wal", folder.file("moved.db-wal"));
      std::filesystem::rename(folder.file() + "-shm", folder.file("moved.db-shm"));
      open_broker(url_of(folder))->declare({{QueueSpec{.name = "another"}}});
    }
    const auto refused = [&](const auto& what) {
      const Deadline deadline = Deadline::after(5s);
      while (!deadline.passed()) {
        try {
          what();
        } catch (const Error& error) {
          CHECK(error.kind() == ErrorKind::conflict);
          CHECK(error.subject() == folder.file());
          return true;
        }
      }
      return false;
    };
    CHECK(refused([&] { consumer->next(1, Deadline::after(5s)); }));
    CHECK(refused([&] { broker->publish(std::vector{message("lost?")}); }));
    // It stays refused, instead of going on with a file that nobody chose.
    CHECK_THROWS_AS(broker->publish(std::vector{message("lost?")}), Error);
  }
}

TEST_CASE("results expire by themselves while others are written") {
  const Folder folder;
  TransportOptions options;
  options.result_expires = 20ms;
  const auto put = [&](const std::string& id) {
    auto results = open_result_backend(url_of(folder), options);
    TaskResult result;
    result.id = id;
    result.state = std::string(state::success);
    results->put(std::span(&result, 1));
    results->wait("nobody", Deadline::after(40ms));
    return results;
  };
  put("old");
  auto results = put("new");
  CHECK_FALSE(results->get("old").has_value());
  CHECK(results->get("new").has_value());
}
