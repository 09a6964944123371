#include "wire/sqlite/database.hpp"

#include "core/uuid.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>
#include <set>
#include <utility>

namespace errand::sqlite {

namespace {

// The names of sqlite.org/rescode.html, which the library has no function for. The ones that an operator looks up.
constexpr std::array<std::pair<int, std::string_view>, 16> kNames{{
    {SQLITE_PERM, "SQLITE_PERM"},
    {SQLITE_BUSY, "SQLITE_BUSY"},
    {SQLITE_LOCKED, "SQLITE_LOCKED"},
    {SQLITE_NOMEM, "SQLITE_NOMEM"},
    {SQLITE_READONLY, "SQLITE_READONLY"},
    {SQLITE_INTERRUPT, "SQLITE_INTERRUPT"},
    {SQLITE_IOERR, "SQLITE_IOERR"},
    {SQLITE_CORRUPT, "SQLITE_CORRUPT"},
    {SQLITE_FULL, "SQLITE_FULL"},
    {SQLITE_CANTOPEN, "SQLITE_CANTOPEN"},
    {SQLITE_SCHEMA, "SQLITE_SCHEMA"},
    {SQLITE_TOOBIG, "SQLITE_TOOBIG"},
    {SQLITE_CONSTRAINT, "SQLITE_CONSTRAINT"},
    {SQLITE_MISUSE, "SQLITE_MISUSE"},
    {SQLITE_AUTH, "SQLITE_AUTH"},
    {SQLITE_NOTADB, "SQLITE_NOTADB"},
}};

std::string name_of(int code) {
  const int primary = code & 0xff;
  const auto named = std::find_if(kNames.begin(), kNames.end(), [&](const auto& one) { return one.first == primary; });
  if (named == kNames.end()) return "SQLite result code " + std::to_string(code);
  const bool detailed = primary == SQLITE_IOERR || primary == SQLITE_CONSTRAINT;
  return std::string(named->second) + (detailed ? " " + std::to_string(code) : "");
}

}  // namespace

void throw_sqlite(int code, std::string_view operation, std::string_view path, std::string_view message) {
  ErrorKind kind = ErrorKind::bug;
  std::string detail(message);
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      kind = ErrorKind::overloaded;
      detail = "another process kept the file locked for too long; try again";
      break;
    case SQLITE_FULL:
      kind = ErrorKind::overloaded;
      detail = "the disk is full; nothing was written. Free some space, then try again";
      break;
    case SQLITE_IOERR:
      kind = ErrorKind::unavailable;
      detail = "input or output failed (" + detail + "); check the disk and the rights, then try again";
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      kind = ErrorKind::conflict;
      detail = "the file is damaged or no SQLite database (" + detail +
               "). It was left as it is; recover it with the sqlite3 program's .recover, or name another file";
      break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      kind = ErrorKind::denied;
      detail = "expected the right to write the file and its directory (" + detail + ")";
      break;
    case SQLITE_CANTOPEN:
      kind = ErrorKind::denied;
      detail = "the file cannot be opened (" + detail + "); check the directory and its rights";
      break;
    case SQLITE_TOOBIG:
      kind = ErrorKind::invalid;
      detail = "expected a value within SQLite's limits, got a larger one";
      break;
    default:
      break;
  }
  throw Error({.kind = kind,
               .operation = std::string(operation),
               .subject = std::string(path),
               .detail = std::move(detail),
               .code = name_of(code)});
}

Query::Query(Database& database, sqlite3_stmt* statement) : database_(&database), statement_(statement) {}

Query::Query(Query&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)), next_(other.next_) {}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Query::check(int code) const {
  if (code != SQLITE_OK) database_->fail("sqlite");
}

Query& Query::bind(std::int64_t value) {
  check(sqlite3_bind_int64(statement_, next_++, value));
  return *this;
}
Query& Query::bind(std::string_view text) {
  check(sqlite3_bind_text64(statement_, next_++, text.data() == nullptr ? "" : text.data(), text.size(), SQLITE_STATIC,
                            SQLITE_UTF8));
  return *this;
}
Query& Query::bind_blob(std::string_view bytes) {
  check(sqlite3_bind_blob64(statement_, next_++, bytes.data() == nullptr ? "" : bytes.data(), bytes.size(),
                            SQLITE_STATIC));
  return *this;
}
Query& Query::bind_null() {
  check(sqlite3_bind_null(statement_, next_++));
  return *this;
}

bool Query::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  check(code);
  return false;
}

std::int64_t Query::run() {
  while (step()) {
  }
  return sqlite3_changes64(database_->db_);
}

std::int64_t Query::integer(int column) const { return sqlite3_column_int64(statement_, column); }
std::string Query::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return data == nullptr ? std::string()
                         : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}
std::string Query::blob(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return data == nullptr ? std::string()
                         : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}
bool Query::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

namespace {
// Files that a connection of this process has, or had, open.
struct KnownFiles {
  std::mutex mutex;
  std::set<std::pair<dev_t, ino_t>> inodes;
};
KnownFiles& known_files() {
  static KnownFiles files;
  return files;
}

// Makes the file private before SQLite does with the process's umask, and looks whether it may be ours to open. Only
// for the first connection of this process: closing any descriptor of a file drops all POSIX locks that the process
// has on it, those of its other connections included. The next process to leave would then think itself the last,
// delete the log, and this one would go on with a file that nobody else sees.
void prepare_file(const std::string& path) {
  const auto fail = [&](ErrorKind kind, std::string detail) {
    throw Error({.kind = kind, .operation = "sqlite.open", .subject = path, .detail = std::move(detail)});
  };
  KnownFiles& known = known_files();
  const std::lock_guard lock(known.mutex);
  struct stat about{};
  if (stat(path.c_str(), &about) == 0 && known.inodes.count({about.st_dev, about.st_ino}) != 0) return;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    const int code = errno;
    const std::string why = std::strerror(code);
    if (code == ENOENT || code == ENOTDIR)
      fail(ErrorKind::invalid, "expected a file in a directory that exists (" + why + "); create the directory first");
    if (code == EISDIR) fail(ErrorKind::invalid, "expected a file, got a directory");
    if (code == EACCES || code == EPERM || code == EROFS)
      fail(ErrorKind::denied, "expected the right to write the file (" + why + ")");
    fail(ErrorKind::unavailable, why);
  }
  char magic[16] = {};
  const ssize_t got = pread(fd, magic, sizeof magic, 0);
  const bool found = fstat(fd, &about) == 0;
  close(fd);
  if (got > 0 && (got < static_cast<ssize_t>(sizeof magic) || std::memcmp(magic, "SQLite format 3", 16) != 0)) {
    fail(ErrorKind::conflict,
         "expected a database of Errand or no file, got a file of another kind; it was left as it is");
  }
  if (found) known.inodes.emplace(about.st_dev, about.st_ino);
}
}  // namespace

Database::Database(std::string path, Milliseconds patience) : path_(std::move(path)), patience_(patience) {
  prepare_file(path_);
  const int code = sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    const std::string message = db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_);
    sqlite3_close_v2(db_);
    throw_sqlite(code, "sqlite.open", path_, message);
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_handler(db_, &Database::on_busy, this);
}

Database::~Database() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

// SQLite's own handler soon sleeps 100 ms between two tries, in which sixteen other writers come and go. Short sleeps
// of random length let nobody starve: all who wait have the same chance at every release. The gap between two writers
// of a busy file is far below a millisecond, so longer sleeps would miss most of them while a disk is slow.
int Database::on_busy(void* self, int times) noexcept {
  auto& database = *static_cast<Database*>(self);
  const SteadyPoint now = std::chrono::steady_clock::now();
  if (times == 0) database.busy_since_ = now;
  if (now - database.busy_since_ >= database.patience_) return 0;
  constexpr std::uint64_t kShortest = 100'000, kLongest = 1'000'000;  // nanoseconds
  const std::uint64_t most = std::min(kLongest, kShortest << std::min(times, 10));
  const timespec pause{0, static_cast<long>(most / 2 + core::random_bits() % (most / 2))};
  nanosleep(&pause, nullptr);
  return 1;
}

void Database::fail(const char* operation) {
  const int code = sqlite3_extended_errcode(db_);
  if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CORRUPT) broken_ = true;
  throw_sqlite(code, operation, path_, sqlite3_errmsg(db_));
}

Query Database::query(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) fail("sqlite.prepare");
  }
  return Query(*this, statement);
}

void Database::execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail("sqlite");
}

std::int64_t Database::last_row_id() const noexcept { return sqlite3_last_insert_rowid(db_); }
bool Database::in_transaction() const noexcept { return sqlite3_get_autocommit(db_) == 0; }

Transaction::Transaction(Database& database) : database_(database) { database_.query("BEGIN IMMEDIATE").run(); }

Transaction::~Transaction() {
  if (done_ || !database_.in_transaction()) return;
  try {
    database_.query("ROLLBACK").run();
  } catch (const Error&) {
    // SQLite has rolled back by itself; there is nothing left to undo.
  }
}

void Transaction::commit() {
  try {
    database_.query("COMMIT").run();
  } catch (const Error& error) {
    if (!database_.broken()) throw;
    throw Error({.kind = ErrorKind::in_doubt,
                 .operation = error.operation(),
                 .subject = error.subject(),
                 .detail = error.detail(),
                 .code = error.code()});
  }
  done_ = true;
}

}  // namespace errand::sqlite
