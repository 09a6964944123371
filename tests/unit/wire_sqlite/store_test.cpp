#include "wire/sqlite/store.hpp"
#include "support/child.hpp"
#include "support/folder.hpp"

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <atomic>
#include <csignal>
#include <latch>
#include <string>
#include <thread>
#include <vector>

using namespace errand;
using namespace errand::sqlite;

namespace {
std::int64_t number(Database& database, const char* sql) {
  Query query = database.query(sql);
  return query.step() ? query.integer(0) : -1;
}
}  // namespace

TEST_CASE("URLs name a file as SQLAlchemy's do") {
  CHECK(path_of_url("sqlite://") == "errand.db");
  CHECK(path_of_url("sqlite:///") == "errand.db");
  CHECK(path_of_url("sqlite:///jobs.db") == "jobs.db");
  CHECK(path_of_url("sqlite:////var/lib/errand/jobs.db") == "/var/lib/errand/jobs.db");
  CHECK(path_of_url("db+sqlite:///results.db") == "results.db");
  CHECK(path_of_url("sqlite:///with blank.db") == "with blank.db");
  for (const char* wrong :
       {"sqlite://host/x.db", "sqlite:///x.db?timeout=5", "sqlite:///:memory:", "sqlite:///a\nb", "x.db"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(path_of_url(wrong), Error);
  }
}

// F041: what a sender was told is safe must survive the power.
TEST_CASE("F041_every connection writes through a log and waits for the disk") {
  const testing::Folder folder;
  Store store(folder.file());
  CHECK(number(store.database(), "PRAGMA synchronous") == 2);
  Query mode = store.database().query("PRAGMA journal_mode");
  REQUIRE(mode.step());
  CHECK(mode.text(0) == "wal");
}

TEST_CASE("F080_network and user-space file systems are refused, local ones are not") {
  for (const long type : {0x6969L, 0x517bL, 0xff534d42L, 0xfe534d42L, 0x65735546L, 0x01021997L}) {
    CAPTURE(type);
    CHECK_FALSE(locks_hold_on(type));
  }
  for (const long type : {0xef53L, 0x58465342L, 0x9123683eL, 0x01021994L, 0x794c7630L,
                          0x2fc12fc1L}) {  // ext, xfs, btrfs, tmpfs, overlay, zfs
    CAPTURE(type);
    CHECK(locks_hold_on(type));
  }
}

// Who looked at the id and then at the tables found tables without it, and took the file for another program's.
TEST_CASE("several who open a file that is not there yet all get the same store") {
  const testing::Folder folder;
  std::atomic<int> opened = 0;
  for (int round = 0; round < 50; ++round) {
    const std::string file = folder.file() + std::to_string(round);
    std::latch ready(4);
    std::vector<std::jthread> several;
    for (int i = 0; i < 4; ++i) {
      several.emplace_back([&] {
        ready.arrive_and_wait();
        try {
          Store(file).database();
          ++opened;
        } catch (const Error& error) {
          MESSAGE(std::string(error.what()));
        }
      });
    }
  }
  CHECK(opened.load() == 200);
}

TEST_CASE("F145_a store of a newer Errand is refused and named by its version") {
  const testing::Folder folder;
  {
    Store(folder.file()).database().execute("PRAGMA user_version = 7");
  }
  try {
    Store(folder.file()).database();
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::conflict);
    CHECK(error.detail().find("got 7") != std::string::npos);
  }
}

// F039: a program of the older version has the file open, and goes on with it.
TEST_CASE(
    "F145_F039_a store of version 1 is brought to version 2 with what it holds, beside a program that knows only 1") {
  const testing::Folder folder;
  Database older(folder.file(), Milliseconds{5'000});
  {
    Store store(folder.file());
    store.database().execute(
        "ALTER TABLE message DROP COLUMN life; DROP TABLE revoked; PRAGMA user_version = 1;"
        "INSERT INTO message (queue, urgency, meta, body, sent_at) VALUES (1, 4, '{}', 'kept', 7)");
  }
  Store store(folder.file());
  CHECK(number(store.database(), "PRAGMA user_version") == 2);
  CHECK(number(store.database(), "SELECT count(*) FROM message WHERE body = 'kept' AND life = 0") == 1);
  CHECK(number(store.database(), "SELECT count(*) FROM revoked") == 0);
  older.execute("INSERT INTO message (queue, urgency, meta, body, sent_at) VALUES (1, 4, '{}', 'later', 8)");
  CHECK(number(store.database(), "SELECT count(*) FROM message WHERE life = 0") == 2);
}

// A shell somebody forgot, or a backup that hangs: the log cannot be written back while it reads.
TEST_CASE("F079_a reader that does not end lets the log grow to its limit, and nothing new is accepted until it ends") {
  const testing::Folder folder;
  Store store(folder.file(), Store::kPatience, {.alarm = 200'000, .most = 400'000});
  store.database().execute("CREATE TABLE filler (x)");
  Database reader(folder.file(), Milliseconds{1'000});
  reader.execute("BEGIN");
  CHECK(number(reader, "SELECT count(*) FROM filler") == 0);
  const auto write = [&] { store.database().query("INSERT INTO filler VALUES (randomblob(20000))").run(); };
  bool refused = false;
  const Deadline limit = Deadline::after(std::chrono::seconds(30));
  while (!refused && !limit.passed()) {
    write();
    try {
      store.require_room();
    } catch (const Error& error) {
      refused = true;
      CHECK(error.kind() == ErrorKind::overloaded);
      CHECK(error.subject() == folder.file() + "-wal");
      CHECK(error.detail().find("expected at most 400000 bytes") != std::string::npos);
    }
  }
  REQUIRE(refused);
  write();  // what is in the file goes on
  CHECK_THROWS_AS(store.require_room(), Error);
  reader.execute("COMMIT");
  store.require_room();
  write();
  store.require_room();
}

// A limit on the size of files stands for the disk that fails. In a process of its own, since the limit is the
// process's.
TEST_CASE("F075_after input or output has failed the store opens the file anew") {
  const testing::Folder folder;
  testing::Child child([&](const testing::Child::Say& say) {
    signal(SIGXFSZ, SIG_IGN);
    Store store(folder.file());
    store.database().execute("CREATE TABLE filler (x)");
    const rlimit tight{300'000, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &tight) != 0) return 1;
    try {
      Transaction transaction(store.database());
      store.database().query("INSERT INTO filler VALUES (randomblob(1000000))").run();
      transaction.commit();
      return 2;
    } catch (const Error& error) {
      say(std::string(to_string(error.kind())));
    }
    const rlimit wide{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &wide) != 0) return 3;
    if (store.database().broken()) return 4;
    store.database().query("INSERT INTO filler VALUES (randomblob(1000000))").run();
    return number(store.database(), "SELECT count(*) FROM filler") == 1 ? 0 : 5;
  });
  const std::string kind = child.line();
  CHECK((kind == "unavailable" || kind == "in doubt"));
  CHECK(child.wait() == 0);
}
