// The raw client for SQLite: the driver's statements by hand, prepared once, on a file with Errand's schema. One
// transaction completes the last batch and claims the next; synchronous=FULL.
#include "raw.hpp"

#include <sqlite3.h>
#include <algorithm>
#include <stdexcept>

namespace errand::bench {

namespace {

class RawSqlite final : public RawClient {
 public:
  explicit RawSqlite(const std::string& path) {
    if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) fail();
    sqlite3_busy_timeout(db_, 10'000);
    if (sqlite3_exec(db_, "PRAGMA synchronous = FULL", nullptr, nullptr, nullptr) != SQLITE_OK) fail();
    begin_ = prepare("BEGIN IMMEDIATE");
    commit_ = prepare("COMMIT");
    message_ = prepare("INSERT INTO message (queue, urgency, meta, body, sent_at) VALUES (1,9,?,?,1)");
    ready_ = prepare("INSERT INTO ready (queue, urgency, message, deliveries) VALUES (1,9,?,0)");
    take_ = prepare(
        "SELECT r.urgency, r.message, r.deliveries, m.meta, m.body FROM ready r CROSS JOIN message m ON m.id = "
        "r.message WHERE r.queue = 1 ORDER BY r.urgency, r.message LIMIT ?");
    lease_ = prepare(
        "INSERT OR REPLACE INTO lease (message, owner, token, until, deliveries) SELECT message, 1, 1, 1, deliveries "
        "+ 1 FROM ready WHERE queue = 1 AND (urgency, message) <= (9, ?)");
    unready_ = prepare("DELETE FROM ready WHERE queue = 1 AND (urgency, message) <= (9, ?)");
    result_ = prepare(
        "INSERT INTO result (id, state, result, traceback, children, done_at, group_id, parent_id, token, retries, "
        "extended, name, args, kwargs, worker, queue, written_at) VALUES "
        "(?,'SUCCESS','12345','','[]',1795326346000000,'','',1,0,0,'','null','null','','',1795326346000000) "
        "ON CONFLICT (id) DO UPDATE SET state = excluded.state WHERE result.state <> 'SUCCESS'");
    unlease_ = prepare("DELETE FROM lease WHERE message = ? AND token = 1");
    forget_ = prepare("DELETE FROM message WHERE id = ?");
  }
  ~RawSqlite() override {
    for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }

  std::vector<RawMessage> take_all() override {
    std::vector<RawMessage> out;
    sqlite3_stmt* all = prepare("SELECT meta, body FROM message ORDER BY id");
    while (sqlite3_step(all) == SQLITE_ROW) out.push_back({column(all, 0), column(all, 1)});
    sqlite3_reset(all);
    step(begin_);
    step(prepare("DELETE FROM ready"));
    step(prepare("DELETE FROM message"));
    step(commit_);
    return out;
  }

  void publish(const std::vector<RawMessage>& messages, std::size_t batch) override {
    for (std::size_t at = 0; at < messages.size(); at += batch) {
      step(begin_);
      for (std::size_t i = at; i < std::min(messages.size(), at + batch); ++i) {
        const RawMessage& one = messages[i];
        sqlite3_bind_text(message_, 1, one.head.data(), static_cast<int>(one.head.size()), SQLITE_STATIC);
        sqlite3_bind_blob(message_, 2, one.body.data(), static_cast<int>(one.body.size()), SQLITE_STATIC);
        step(message_);
        step(ready_, sqlite3_last_insert_rowid(db_));
      }
      step(commit_);
    }
  }

  std::size_t cycle(std::size_t batch) override {
    constexpr std::string_view kId = "\"id\":\"";
    constexpr std::size_t kUuid = 36;
    step(begin_);
    for (const Taken& one : taken_) {
      sqlite3_bind_text(result_, 1, one.task.data(), static_cast<int>(one.task.size()), SQLITE_STATIC);
      step(result_);
      step(unlease_, one.message);
      step(forget_, one.message);
    }
    taken_.clear();
    sqlite3_bind_int64(take_, 1, static_cast<sqlite3_int64>(batch));
    while (sqlite3_step(take_) == SQLITE_ROW) {
      const std::string meta = column(take_, 3);
      const std::string body = column(take_, 4);
      taken_.push_back({sqlite3_column_int64(take_, 1), meta.substr(meta.find(kId) + kId.size(), kUuid)});
    }
    sqlite3_reset(take_);
    if (!taken_.empty()) {
      step(lease_, taken_.back().message);
      step(unready_, taken_.back().message);
    }
    step(commit_);
    return taken_.size();
  }

 private:
  struct Taken {
    sqlite3_int64 message;
    std::string task;
  };
  [[noreturn]] void fail() const { throw std::runtime_error(std::string("raw_sqlite: ") + sqlite3_errmsg(db_)); }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) fail();
    statements_.push_back(statement);
    return statement;
  }
  void step(sqlite3_stmt* statement) const {
    if (sqlite3_step(statement) != SQLITE_DONE) fail();
    sqlite3_reset(statement);
  }
  void step(sqlite3_stmt* statement, sqlite3_int64 value) const {
    sqlite3_bind_int64(statement, 1, value);
    step(statement);
  }
  static std::string column(sqlite3_stmt* statement, int number) {
    return {static_cast<const char*>(sqlite3_column_blob(statement, number)),
            static_cast<std::size_t>(sqlite3_column_bytes(statement, number))};
  }

  sqlite3* db_ = nullptr;
  std::vector<sqlite3_stmt*> statements_;
  sqlite3_stmt *begin_, *commit_, *message_, *ready_, *take_, *lease_, *unready_, *result_, *unlease_, *forget_;
  std::vector<Taken> taken_;
};

}  // namespace

std::unique_ptr<RawClient> raw_sqlite(const std::string& path) { return std::make_unique<RawSqlite>(path); }

}  // namespace errand::bench
