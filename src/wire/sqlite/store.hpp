#pragma once
// The one file that is broker and result backend: its schema, how it is opened, and how processes that share it wake
// each other. Layout in docs/protocol/sqlite.md.

#include "core/fd.hpp"
#include "wire/sqlite/database.hpp"

#include <errand/time.hpp>

#include <sys/types.h>

namespace errand::sqlite {

/// Which of the two kinds of news.
enum class News { queue, result };

/// How far the write-ahead log may grow. It shrinks by itself unless a reader keeps it: a forgotten shell or backup.
struct LogLimits {
  std::int64_t alarm = std::int64_t{256} << 20;  ///< bytes; beyond this the log says so every ten seconds
  std::int64_t most = std::int64_t{1} << 30;     ///< beyond this nothing new is accepted
};

/// A connection to the store with its schema in place. One thread; after fork() the child gets a new one by itself.
class Store {
 public:
  /// How long one writer waits for another before it gives up, unless said otherwise.
  static constexpr Milliseconds kPatience{10'000};
  explicit Store(std::string path, Milliseconds patience = kPatience, LogLimits log_limits = {});
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  const std::string& path() const noexcept { return path_; }
  /// Opens on first use, in a forked child, and after input or output has failed. Throws Error{conflict} when the
  /// file was deleted or replaced since it was opened: what is written to it now would be lost; or when it may no
  /// longer be written.
  Database& database();
  /// Throws Error{overloaded} while a reader that does not end has let the file's log grow beyond LogLimits::most:
  /// nothing new is accepted then, and what is here goes on.
  void require_room();
  /// Tells everybody who waits. Call after the transaction has committed.
  void announce(News news) noexcept;

 private:
  void open();
  void forget() noexcept;
  void check_identity();
  void check_log();
  std::string path_;
  LogLimits log_limits_;
  std::int64_t log_bytes_ = 0;
  Milliseconds patience_;
  std::unique_ptr<Database> database_;
  core::UniqueFd queue_news_, result_news_;
  pid_t pid_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  SteadyPoint check_identity_at_{};
};

/// Waits for news of one kind, or for a wake-up from another thread.
class Waiter {
 public:
  Waiter(const std::string& path, News news);
  /// Forgets news so far. Call before looking into the store, so that none is missed between looking and waiting.
  void clear() noexcept;
  /// Returns at news, at wake() or at the deadline; true unless the deadline passed.
  bool wait(Deadline deadline) noexcept;
  /// Only for wake() or the deadline.
  bool wait_for_wake(Deadline deadline) noexcept;
  void wake() noexcept { woken_.signal(); }
  /// Takes a wake-up that came meanwhile.
  bool take_wake() noexcept { return woken_.clear(); }

 private:
  core::UniqueFd inotify_;  // none when the system has no instance left: then the waiter looks ten times a second
  core::EventFd woken_;
};

/// A result backend that keeps its records in a store, so that a consumer of the same file can write them in its own
/// transaction.
class StoreUser {
 public:
  virtual ~StoreUser() = default;
  virtual const std::string& store_path() const noexcept = 0;
  virtual Milliseconds result_expires() const noexcept = 0;
};

/// Microseconds since 1970: how times stand in the file, but for the ends of leases.
std::int64_t now_us() noexcept;

/// Microseconds since the machine started, sleep included: the clock of leases. All who share the file share it, and
/// nobody can set it: a wall clock that jumps an hour ahead would end every lease at once, one that jumps back none.
std::int64_t lease_now_us() noexcept;

/// The path in sqlite:///relative.db, sqlite:////absolute.db, db+sqlite:///...; "sqlite://" is errand.db. Throws
/// Error{invalid} for a host name, options, ":memory:" and control characters.
std::string path_of_url(std::string_view url);

/// False for file systems (statfs f_type) of other machines and of user-space programs, whose locks cannot be trusted.
bool locks_hold_on(long file_system_type) noexcept;

}  // namespace errand::sqlite
