#include "wire/sqlite/database.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <string>

using namespace errand::sqlite;

// What the next test runs in a process of its own: a fork would inherit SQLite's idea of who holds which lock.
TEST_CASE("another program writes and leaves" * doctest::skip()) {
  const char* path = std::getenv("ERRAND_TEST_DATABASE");
  REQUIRE(path != nullptr);
  Database other(path, std::chrono::seconds{1});
  other.execute("INSERT INTO t VALUES (1)");
}

// Closing any descriptor of a file drops every POSIX lock its process has on it. When opening a second connection did
// that, the next process to leave deleted the log under the first one, which then waited for messages that it could
// never see: a worker ran one task and no more.
TEST_CASE("a second connection of a process does not drop the locks of the first") {
  std::string name = (std::filesystem::temp_directory_path() / "errand-sqlite-XXXXXX").string();
  const std::string folder = mkdtemp(name.data());
  const std::string path = folder + "/a.db";
  {
    Database first(path, std::chrono::seconds{1});
    first.execute("PRAGMA journal_mode = WAL; CREATE TABLE t (x)");
    const Database second(path, std::chrono::seconds{1});
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      setenv("ERRAND_TEST_DATABASE", path.c_str(), 1);
      execl("/proc/self/exe", "unit_wire_sqlite", "--no-skip", "--test-case=another program writes and leaves",
            static_cast<char*>(nullptr));
      _exit(127);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    CHECK(std::filesystem::exists(path + "-wal"));
    Query query = first.query("SELECT count(*) FROM t");
    REQUIRE(query.step());
    CHECK(query.integer(0) == 1);
  }
  std::filesystem::remove_all(folder);
}
