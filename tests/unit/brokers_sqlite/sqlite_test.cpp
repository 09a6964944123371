#include "brokers/sqlite/broker.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

using namespace errand;
using namespace std::chrono_literals;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/errand-test-XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file() const { return path + "/errand.db"; }
  std::string path;
};

Envelope envelope(const std::string& id, const std::string& queue = "q", int priority = 0) {
  Envelope one;
  one.route = {"", queue};
  one.priority = priority;
  one.message.headers = Object{{"id", id}, {"task", "noop"}, {"x", "ünïcode"}};
  one.message.body = std::string("body\0of ", 8) + id;
  return one;
}

std::string id_of(const Delivery& delivery) { return delivery.message.headers.at("id").as_text(); }

Settlement ack(const Delivery& delivery) { return {.receipt = delivery.receipt}; }

std::unique_ptr<Consumer> consumer(sqlite::SqliteBroker& broker, Milliseconds lease = 60s) {
  return broker.consume({.queues = {"q"}, .owner = "test", .lease = lease});
}

ErrorKind refusal(const std::string& path) {
  try {
    sqlite::SqliteBroker(path, {}).queues();
  } catch (const Error& error) {
    return error.kind();
  }
  FAIL("accepted");
  return ErrorKind::bug;
}

}  // namespace

TEST_CASE("messages come in the order of arrival, the more urgent first, with body and headers as they were") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  const std::vector<Envelope> sent{envelope("a"), envelope("b"), envelope("c", "q", 9)};
  broker.publish(sent);
  auto reader = consumer(broker);
  auto got = reader->next(10, Deadline::after(5s));
  REQUIRE(got.size() == 3);
  CHECK(id_of(got[0]) == "c");
  CHECK(id_of(got[1]) == "a");
  CHECK(got[1].message.body == sent[0].message.body);
  CHECK(got[1].message.headers == sent[0].message.headers);
  CHECK_FALSE(got[0].redelivered);
}

TEST_CASE("what a consumer leaves unsettled comes back marked, with a higher token") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  broker.publish(std::vector{envelope("a")});
  std::uint64_t token = 0;
  {
    auto first = consumer(broker);
    token = first->next(1, Deadline::after(5s))[0].receipt.token;
  }
  auto second = consumer(broker);
  auto again = second->next(1, Deadline::after(5s));
  REQUIRE(again.size() == 1);
  CHECK(again[0].redelivered);
  CHECK(again[0].deliveries == 2);
  CHECK(again[0].receipt.token > token);
}

TEST_CASE("F024_a holder whose lease ran out can neither settle nor extend") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  broker.publish(std::vector{envelope("a")});
  auto late = consumer(broker, 1ms);
  const Delivery held = late->next(1, Deadline::after(5s))[0];
  auto other = consumer(broker);
  auto again = other->next(1, Deadline::after(10s));
  REQUIRE(again.size() == 1);
  late->settle(std::vector{ack(held)});
  late->extend(std::vector{held.receipt}, 60s);
  CHECK(late->stale() == 2);
  other->settle(std::vector{ack(again[0])});
  CHECK(other->stale() == 0);
  CHECK(broker.inspect("q").leased == 0);
}

TEST_CASE("a parked message is delivered when it is due and not before") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  Envelope later = envelope("later");
  const TimePoint due = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()) + 150ms;
  later.not_before = due;
  broker.publish(std::vector{later});
  auto reader = consumer(broker);
  CHECK(reader->next(1, Deadline::now()).empty());
  CHECK(broker.inspect("q").parked == 1);
  auto got = reader->next(1, Deadline::after(10s));
  REQUIRE(got.size() == 1);
  CHECK(std::chrono::system_clock::now() >= due);
  CHECK(std::chrono::system_clock::now() < due + 1s);
}

TEST_CASE("requeue puts a message in front, dead letters keep it, requeued letters are the same message") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  broker.publish(std::vector{envelope("a"), envelope("b")});
  auto reader = consumer(broker);
  const Delivery first = reader->next(1, Deadline::after(5s))[0];
  reader->settle(std::vector{Settlement{.receipt = first.receipt, .kind = Settlement::Kind::requeue}});
  const Delivery again = reader->next(1, Deadline::after(5s))[0];
  CHECK(id_of(again) == "a");
  reader->settle(std::vector{Settlement{
      .receipt = again.receipt, .kind = Settlement::Kind::dead_letter, .reason = "UNKNOWN_TASK", .detail = "why"}});
  const auto letters = broker.dead_letters("q", 10, "");
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].reason == "UNKNOWN_TASK");
  CHECK(letters[0].task_id == "a");
  CHECK(letters[0].deliveries == 2);
  CHECK(broker.requeue_dead("q", std::vector{letters[0].id}) == 1);
  const Delivery back = reader->next(1, Deadline::after(5s))[0];
  CHECK(back.message.body == first.message.body);
  CHECK(back.message.headers == first.message.headers);
  CHECK(broker.dead_letters("q", 10, "").empty());
}

TEST_CASE("a publisher of another connection wakes a waiting consumer, and wake() ends a wait") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  auto reader = consumer(broker);
  std::thread publisher([&] {
    sqlite::SqliteBroker other(folder.file(), {});
    other.publish(std::vector{envelope("a")});
  });
  CHECK(reader->next(1, Deadline::after(10s)).size() == 1);
  publisher.join();
  std::thread waker([&] { reader->wake(); });
  CHECK(reader->next(1, Deadline::after(60s)).empty());
  waker.join();
  reader->wake();
  CHECK(reader->next(0, Deadline::after(60s)).empty());
}

TEST_CASE("F008_a message over the limit is refused before anything is written") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), TransportOptions{.max_message_bytes = 100});
  Envelope large = envelope("large");
  large.message.body.resize(101);
  CHECK_THROWS_WITH_AS(broker.publish(std::vector{envelope("a"), large}), doctest::Contains("max_message_bytes"),
                       Error);
  CHECK(broker.inspect("q").ready == 0);
}

TEST_CASE("purge deletes what waits and leaves what is handed out") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  broker.publish(std::vector{envelope("a"), envelope("b"), envelope("c")});
  auto reader = consumer(broker);
  const Delivery held = reader->next(1, Deadline::after(5s))[0];
  CHECK(broker.purge("q") == 2);
  CHECK(broker.inspect("q").leased == 1);
  reader->settle(std::vector{ack(held)});
  CHECK(reader->stale() == 0);
}

// Four processes take from one file while it is filled; every message is taken by exactly one of them.
TEST_CASE("F073_processes that share a file lose and double nothing") {
  constexpr int kProcesses = 4;
  constexpr int kMessages = 2'000;
  Folder folder;
  sqlite::SqliteBroker(folder.file(), {}).declare({{QueueSpec{"q"}}});
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      sqlite::SqliteBroker broker(folder.file(), {});
      auto reader = broker.consume({.queues = {"q"}, .owner = std::to_string(i)});
      std::ofstream taken(folder.path + "/taken-" + std::to_string(i));
      bool done = false;
      while (!done) {
        std::vector<Settlement> settlements;
        for (const Delivery& delivery : reader->next(17, Deadline::after(20s))) {
          if (id_of(delivery) == "stop")
            done = true;
          else
            taken << id_of(delivery) << '\n';
          settlements.push_back(ack(delivery));
        }
        if (settlements.empty()) done = true;
        reader->settle(settlements);
      }
      taken.close();
      _exit(0);
    }
    children.push_back(child);
  }
  {
    sqlite::SqliteBroker broker(folder.file(), {});
    for (int i = 0; i < kMessages; i += 20) {
      std::vector<Envelope> batch;
      for (int k = i; k < i + 20; ++k) batch.push_back(envelope(std::to_string(k)));
      broker.publish(batch);
    }
    // One stop for each process; a process that takes two leaves the other to the timeout above.
    auto& stopper = broker;
    for (const pid_t child : children) {
      stopper.publish(std::vector{envelope("stop")});
      int status = 0;
      static_cast<void>(child);
      CHECK(waitpid(-1, &status, 0) > 0);
      CHECK(status == 0);
    }
  }
  std::multiset<std::string> taken;
  for (int i = 0; i < kProcesses; ++i) {
    std::ifstream file(folder.path + "/taken-" + std::to_string(i));
    for (std::string line; std::getline(file, line);) taken.insert(line);
  }
  CHECK(taken.size() == kMessages);
  CHECK(std::set<std::string>(taken.begin(), taken.end()).size() == kMessages);
}

TEST_CASE("F013_messages of a killed process are handed to another within seconds, long before the lease ends") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  broker.publish(std::vector{envelope("a")});
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    sqlite::SqliteBroker mine(folder.file(), {});
    auto reader = consumer(mine, 600s);
    if (reader->next(1, Deadline::after(5s)).size() == 1) static_cast<void>(write(ready[1], "x", 1) == 1);
    pause();
    _exit(0);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  auto reader = consumer(broker);
  auto got = reader->next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  CHECK(got[0].redelivered);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("F077_files that are no store of ours are refused and left as they are") {
  Folder folder;
  const auto write_file = [&](const std::string& name, const std::string& content) {
    std::ofstream(folder.path + "/" + name, std::ios::binary) << content;
    return folder.path + "/" + name;
  };
  const std::string notes = write_file("notes.db", std::string(4096, 'n'));
  CHECK(refusal(notes) == ErrorKind::conflict);
  CHECK(std::filesystem::file_size(notes) == 4096);
  CHECK(refusal(write_file("short.db", "SQLite")) == ErrorKind::conflict);
  CHECK(refusal(write_file("header.db", std::string("SQLite format 3\0", 16) + std::string(500, '\xff'))) ==
        ErrorKind::conflict);
  {
    sqlite::Database other(folder.path + "/other.db", 100ms);
    other.execute("CREATE TABLE mine (x)");
  }
  CHECK(refusal(folder.path + "/other.db") == ErrorKind::conflict);
  {
    sqlite::SqliteBroker(folder.path + "/newer.db", {}).queues();
    sqlite::Database newer(folder.path + "/newer.db", 100ms);
    newer.execute("PRAGMA user_version = 99");
  }
  CHECK(refusal(folder.path + "/newer.db") == ErrorKind::conflict);
  CHECK(refusal(folder.path) == ErrorKind::invalid);
  CHECK(refusal(folder.path + "/no/such/dir.db") == ErrorKind::invalid);
}

TEST_CASE("S42_new files are readable by their owner only") {
  Folder folder;
  sqlite::SqliteBroker(folder.file(), {}).queues();
  for (const auto& entry : std::filesystem::directory_iterator(folder.path)) {
    CAPTURE(entry.path().string());
    CHECK((entry.status().permissions() & (std::filesystem::perms::group_all | std::filesystem::perms::others_all)) ==
          std::filesystem::perms::none);
  }
}

// The file may not grow: what was accepted stays, what was not is refused, and the file is whole.
TEST_CASE("F074_a full disk refuses new messages and damages nothing") {
  Folder folder;
  sqlite::SqliteBroker broker(folder.file(), {});
  broker.publish(std::vector{envelope("kept")});
  sqlite::Store store(folder.file());
  sqlite::Database& database = store.database();
  database.execute("PRAGMA max_page_count = 1");
  bool refused = false;
  try {
    sqlite::Transaction transaction(database);
    database.query("INSERT INTO message (queue, urgency, meta, body, sent_at) VALUES (1, 0, '{}', zeroblob(200000), 0)")
        .run();
    transaction.commit();
  } catch (const Error& error) {
    refused = error.kind() == ErrorKind::overloaded;
  }
  CHECK(refused);
  auto check = database.query("PRAGMA integrity_check");
  REQUIRE(check.step());
  CHECK(check.text(0) == "ok");
  auto reader = consumer(broker);
  CHECK(reader->next(5, Deadline::after(5s)).size() == 1);
}
