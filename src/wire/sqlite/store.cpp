#include "wire/sqlite/store.hpp"

#include "core/log.hpp"
#include "core/text.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>
#include <thread>

namespace errand::sqlite {

namespace {

constexpr std::chrono::seconds kCheckIdentityEvery{1};  // how soon a deleted or replaced file is noticed
constexpr int kBlindPollMs = 100;                       // without inotify: ten looks a second
constexpr int kNetPollMs = 1'000;                       // with it: a net under lost news
constexpr std::int64_t kApplicationId = 0x45727264;     // "Errd"
constexpr std::int64_t kSchemaVersion = 2;

constexpr const char* kSchema = R"sql(
CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE binding (exchange TEXT NOT NULL, type TEXT NOT NULL, routing_key TEXT NOT NULL, queue INTEGER NOT NULL,
  PRIMARY KEY (exchange, type, routing_key, queue)) WITHOUT ROWID;
CREATE TABLE message (id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL, urgency INTEGER NOT NULL,
  meta TEXT NOT NULL, body BLOB NOT NULL, sent_at INTEGER NOT NULL, life INTEGER NOT NULL DEFAULT 0);
CREATE TABLE ready (queue INTEGER NOT NULL, urgency INTEGER NOT NULL, message INTEGER NOT NULL, deliveries INTEGER NOT NULL,
  PRIMARY KEY (queue, urgency, message)) WITHOUT ROWID;
CREATE TABLE parked (due INTEGER NOT NULL, message INTEGER NOT NULL, deliveries INTEGER NOT NULL,
  PRIMARY KEY (due, message)) WITHOUT ROWID;
CREATE TABLE lease (message INTEGER PRIMARY KEY, owner INTEGER NOT NULL, token INTEGER NOT NULL, until INTEGER NOT NULL,
  deliveries INTEGER NOT NULL);
CREATE TABLE owner (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL,
  host TEXT NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES ('token', 0);
CREATE TABLE dead (id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL, message INTEGER NOT NULL, reason TEXT NOT NULL,
  detail TEXT NOT NULL, deliveries INTEGER NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL);
CREATE INDEX dead_by_queue ON dead (queue, id);
CREATE TABLE result (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, result TEXT NOT NULL,
  traceback TEXT NOT NULL, children TEXT NOT NULL, done_at INTEGER, group_id TEXT NOT NULL, parent_id TEXT NOT NULL,
  token INTEGER NOT NULL, retries INTEGER NOT NULL, extended INTEGER NOT NULL, name TEXT NOT NULL, args TEXT NOT NULL,
  kwargs TEXT NOT NULL, worker TEXT NOT NULL, queue TEXT NOT NULL, written_at INTEGER NOT NULL);
CREATE INDEX result_by_age ON result (written_at);
CREATE TABLE task_group (id TEXT PRIMARY KEY, members TEXT NOT NULL, written_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE chord (group_id TEXT PRIMARY KEY, size INTEGER, done INTEGER NOT NULL, completed_by TEXT, written_at INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE chord_part (group_id TEXT NOT NULL, member TEXT NOT NULL, position INTEGER, state TEXT NOT NULL, result TEXT NOT NULL,
  PRIMARY KEY (group_id, member)) WITHOUT ROWID;
CREATE TABLE broadcast (id INTEGER PRIMARY KEY AUTOINCREMENT, exchange TEXT NOT NULL, routing_key TEXT NOT NULL, meta TEXT NOT NULL,
  body BLOB NOT NULL, sent_at INTEGER NOT NULL);
CREATE TABLE revoked (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, until INTEGER NOT NULL);
)sql";

// From each version to the next. What an older program that is still running writes must stay possible.
constexpr const char* kUpgradeFrom1 = R"sql(
ALTER TABLE message ADD COLUMN life INTEGER NOT NULL DEFAULT 0;
CREATE TABLE revoked (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, until INTEGER NOT NULL);
)sql";

std::string news_path(const std::string& path, News news) { return path + (news == News::queue ? "-wake" : "-done"); }

core::UniqueFd open_news(const std::string& path, News news) {
  return core::UniqueFd(::open(news_path(path, news).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

std::int64_t pragma(Database& database, const char* sql) {
  Query query = database.query(sql);
  return query.step() ? query.integer(0) : 0;
}

[[noreturn]] void refuse(const std::string& path, ErrorKind kind, std::string detail) {
  throw Error({.kind = kind, .operation = "sqlite.open", .subject = path, .detail = std::move(detail)});
}

// SQLite's locks do not hold on network file systems, and what is lost then cannot be found again.
void refuse_network_file_system(const std::string& path) {
  struct statfs info{};
  if (statfs(path.c_str(), &info) != 0 || locks_hold_on(static_cast<long>(info.f_type))) return;
  if (std::getenv("ERRAND_SQLITE_FORCE") != nullptr) return;
  refuse(path, ErrorKind::unsupported,
         "expected a local file system, got a network or user-space one, whose file locks cannot be trusted; set "
         "ERRAND_SQLITE_FORCE=1 to use it all the same");
}

enum class Found { nothing, older, current };

// Which schema is there; throws for a file that is another program's or of a version nobody here knows. Reads only: a
// file that is refused is left as it is to the byte.
Found find_schema(Database& database) {
  // The tables first: they come with the id in one step, so that tables of ours without it are not seen even while
  // another process makes them.
  const bool has_tables = pragma(database, "SELECT count(*) FROM sqlite_master") != 0;
  const std::int64_t application = pragma(database, "PRAGMA application_id");
  const std::int64_t version = pragma(database, "PRAGMA user_version");
  if (application == kApplicationId && version == kSchemaVersion) return Found::current;
  if (application == kApplicationId && version == 1) return Found::older;
  if (application == kApplicationId) {
    refuse(database.path(), ErrorKind::conflict,
           "expected schema version " + std::to_string(kSchemaVersion) + ", got " + std::to_string(version) +
               "; use the version of Errand that wrote it");
  }
  if (application != 0 || has_tables) {
    refuse(database.path(), ErrorKind::conflict,
           "expected a database of Errand or no file, got another program's database; it was left as it is");
  }
  return Found::nothing;
}

// SQLite does not wait, whatever its busy timeout, when two change a new file to a log at the same time: one of them is
// told at once that it is locked.
void use_log(Database& database, Milliseconds patience) {
  constexpr Milliseconds kPause{1};
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    try {
      database.execute("PRAGMA journal_mode = WAL");
      return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::overloaded || std::chrono::steady_clock::now() >= end) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

void ensure_schema(Database& database, Milliseconds patience) {
  const Found before = find_schema(database);
  use_log(database, patience);
  // The limit is what the log shrinks to again after a long reader has kept it from being written back.
  database.execute("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;");
  if (before == Found::current) return;
  Transaction transaction(database);
  const Found found = find_schema(database);
  if (found == Found::current) return;  // another process has just made it
  if (found == Found::older) {
    database.execute(kUpgradeFrom1);
    database.execute("PRAGMA user_version = 2;");
  } else {
    database.execute(kSchema);
    database.execute("PRAGMA application_id = 1165128292; PRAGMA user_version = 2;");
  }
  transaction.commit();
}
static_assert(kApplicationId == 1165128292 && kSchemaVersion == 2, "the pragmas above take no parameters");

}  // namespace

std::int64_t now_us() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t lease_now_us() noexcept {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000;
}

std::string path_of_url(std::string_view url) {
  const auto refuse_url = [&](std::string_view got) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "sqlite.url",
                 .subject = core::shorten(core::escape_controls(url), 80),
                 .detail = "expected sqlite:///relative.db or sqlite:////absolute.db, got " + std::string(got)});
  };
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) refuse_url("no scheme");
  const std::string_view rest = url.substr(scheme + 3);
  if (rest.empty() || rest == "/") return "errand.db";
  if (rest.front() != '/') refuse_url("a host name");
  const std::string_view path = rest.substr(1);
  if (path.find('?') != std::string_view::npos) refuse_url("options after '?', which this scheme has none of");
  if (path == ":memory:") refuse_url("a database that no other connection can see; use memory:// instead");
  if (core::escape_controls(path) != path) refuse_url("control characters");
  return std::string(path);
}

bool locks_hold_on(long file_system_type) noexcept {
  constexpr long kCifs = 0xff534d42L, kSmb2 = 0xfe534d42L, kFuse = 0x65735546L, kCeph = 0x00c36400L, kAfs = 0x5346414fL,
                 kV9fs = 0x01021997L, kLustre = 0x0bd00bd0L, kGfs2 = 0x01161970L, kOcfs2 = 0x7461636fL;
  constexpr long kUntrusted[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, kCifs, kSmb2,  kFuse,           kCeph, kAfs,
                                 kV9fs,           kLustre,         kGfs2, kOcfs2, CODA_SUPER_MAGIC};
  return std::find(std::begin(kUntrusted), std::end(kUntrusted), file_system_type) == std::end(kUntrusted);
}

Store::Store(std::string path, Milliseconds patience, LogLimits log_limits)
    : path_(std::move(path)), log_limits_(log_limits), patience_(patience) {}
Store::~Store() {
  if (pid_ != getpid()) forget();
}

void Store::forget() noexcept {
  // The parent's handle: closing it here would drop the parent's file locks.
  [[maybe_unused]] const Database* const parents = database_.release();
}

Database& Store::database() {
  if (database_ && pid_ != getpid()) forget();
  if (database_ && database_->broken()) database_.reset();
  if (database_)
    check_identity();
  else
    open();
  return *database_;
}

void Store::open() {
  auto database = std::make_unique<Database>(path_, patience_);
  refuse_network_file_system(path_);
  ensure_schema(*database, patience_);
  queue_news_ = open_news(path_, News::queue);
  result_news_ = open_news(path_, News::result);
  struct stat about{};
  if (stat(path_.c_str(), &about) == 0) {
    device_ = about.st_dev;
    inode_ = about.st_ino;
  }
  check_identity_at_ = std::chrono::steady_clock::now() + kCheckIdentityEvery;
  database_ = std::move(database);
  pid_ = getpid();
  check_log();
}

void Store::check_identity() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  if (now < check_identity_at_) return;
  struct stat about{};
  if (stat(path_.c_str(), &about) != 0) {
    refuse(path_, ErrorKind::conflict,
           "the file was deleted or moved while it was open; what would be written now would be lost. Put it back, or "
           "restart");
  }
  if (about.st_dev != device_ || about.st_ino != inode_) {
    refuse(path_, ErrorKind::conflict,
           "the file was replaced by another while it was open; what would be written now would be lost. Restart to "
           "use the new one");
  }
  // A read-only remount, or rights that were taken away: the open handle may still write for a while, the next does
  // not.
  if (access(path_.c_str(), R_OK | W_OK) != 0) {
    refuse(path_, ErrorKind::conflict,
           std::string("the file was open and may no longer be written (") + std::strerror(errno) +
               "). Give the rights back, or restart with another file");
  }
  check_log();
  check_identity_at_ = now + kCheckIdentityEvery;
}

void Store::check_log() {
  struct stat about{};
  log_bytes_ = stat((path_ + "-wal").c_str(), &about) == 0 ? static_cast<std::int64_t>(about.st_size) : 0;
  if (log_bytes_ <= log_limits_.alarm) return;
  log::limited(log::Level::warning, "sqlite.log",
               "the file's log is over its limit: some program reads the file and does not end, so that the log cannot "
               "be written back; end it (fuser names it)",
               {{"file", path_}, {"bytes", log_bytes_}, {"alarm_bytes", log_limits_.alarm}});
}

void Store::require_room() {
  if (log_bytes_ <= log_limits_.most) return;
  check_log();
  if (log_bytes_ <= log_limits_.most) return;
  // The reader may have ended since. What is written back then lets the next writer begin the log anew, and without
  // this nobody would, where everybody is refused.
  {
    Query checkpoint = database().query("PRAGMA wal_checkpoint(PASSIVE)");
    if (checkpoint.step() && checkpoint.integer(0) == 0 && checkpoint.integer(1) == checkpoint.integer(2)) return;
  }
  throw Error({.kind = ErrorKind::overloaded,
               .operation = "sqlite.log",
               .subject = path_ + "-wal",
               .detail = "expected at most " + std::to_string(log_limits_.most) + " bytes of log, got " +
                         std::to_string(log_bytes_) +
                         ": a program reads the file and does not end; end it (fuser names it)"});
}

void Store::announce(News news) noexcept {
  const int fd = news == News::queue ? queue_news_.get() : result_news_.get();
  // One byte at the start: inotify tells every waiter of the change. If it fails they look within a second.
  [[maybe_unused]] const ssize_t written = pwrite(fd, "!", 1, 0);
}

Waiter::Waiter(const std::string& path, News news) {
  const core::UniqueFd exists = open_news(path, news);
  core::UniqueFd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (watch && inotify_add_watch(watch.get(), news_path(path, news).c_str(), IN_MODIFY) >= 0)
    inotify_ = std::move(watch);
}

void Waiter::clear() noexcept {
  char events[16 * (sizeof(inotify_event) + NAME_MAX + 1)];
  while (inotify_ && read(inotify_.get(), events, sizeof events) > 0) {
  }
}

bool Waiter::wait(Deadline deadline) noexcept {
  pollfd waits[2] = {{woken_.fd(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}};
  const int net = inotify_ ? kNetPollMs : kBlindPollMs;
  const int left = deadline.poll_timeout();
  const int timeout = left < 0 ? net : std::min(left, net);
  const int got = poll(waits, inotify_ ? 2 : 1, timeout);
  return got > 0 || !deadline.passed();
}

bool Waiter::wait_for_wake(Deadline deadline) noexcept {
  pollfd waits{woken_.fd(), POLLIN, 0};
  return poll(&waits, 1, deadline.poll_timeout()) > 0;
}

}  // namespace errand::sqlite
