#pragma once
// SQLite's C interface as values that clean up after themselves and throw Error. Knows nothing of tasks.

#include <errand/error.hpp>
#include <errand/time.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace errand::sqlite {

class Database;

/// One statement being bound and stepped. Resets itself when it goes; the compiled form stays with the Database.
class Query {
 public:
  Query(Database& database, sqlite3_stmt* statement);
  Query(Query&& other) noexcept;
  ~Query();

  Query& bind(std::int64_t value);
  Query& bind(std::string_view text);  ///< must outlive the stepping
  Query& bind_blob(std::string_view bytes);
  Query& bind_null();

  /// True while there is a row.
  bool step();
  /// Steps to the end; returns how many rows were changed.
  std::int64_t run();

  std::int64_t integer(int column) const;
  std::string text(int column) const;
  std::string blob(int column) const;
  bool is_null(int column) const;

 private:
  void check(int code) const;
  Database* database_;
  sqlite3_stmt* statement_;
  int next_ = 1;
};

/// One connection to one file, for one thread at a time. A forked child must not use it.
class Database {
 public:
  /// Opens or creates (0600). Waits up to `patience` for other writers. Throws Error: {invalid} for a path that cannot
  /// be a database, {denied} for rights, {conflict} for a file that is no SQLite database.
  Database(std::string path, Milliseconds patience);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  const std::string& path() const noexcept { return path_; }
  /// Compiled once, then reused. `sql` must be a literal: it is the key.
  Query query(const char* sql);
  /// Several statements without results.
  void execute(const char* sql);
  std::int64_t last_row_id() const noexcept;
  bool in_transaction() const noexcept;

  /// Input or output has failed here. What the operating system then holds in its cache may never reach the disk, so
  /// nothing read through this connection can be trusted: close it and open another.
  bool broken() const noexcept { return broken_; }
  /// Throws the Error for the last failure.
  [[noreturn]] void fail(const char* operation);

 private:
  friend class Query;
  static int on_busy(void* self, int times) noexcept;

  std::string path_;
  Milliseconds patience_;
  SteadyPoint busy_since_{};
  bool broken_ = false;
  sqlite3* db_ = nullptr;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

/// BEGIN IMMEDIATE ... COMMIT; rolls back unless commit() was called.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  /// Throws Error{in_doubt} when input or output fails at the last step: it may have reached the disk or not.
  void commit();

 private:
  Database& database_;
  bool done_ = false;
};

/// Throws the Error for a result code of SQLite.
[[noreturn]] void throw_sqlite(int code, std::string_view operation, std::string_view path, std::string_view message);

}  // namespace errand::sqlite
