// What the SQLite driver costs beside the statements it is made of: enqueue, claim, and complete (result,
// acknowledgement) of Celery-sized messages at several batch sizes, synchronous=FULL, and in the same run the same
// writes by hand with SQLite's own interface: no JSON, no leases to look for, no waiting. Both use one file each in a
// directory of their own.
//
//   build/release/bench/sqlite_bench [messages] [directory]
//
// `split` is three transactions per batch, `fused` is Consumer::commit with the next claim after it, `wake` is the time
// from before publish() in one process to after next() in another that waits.
#include <errand/drivers.hpp>

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

using namespace errand;
using Steady = std::chrono::steady_clock;

namespace {

constexpr std::size_t kBodyBytes = 500;  // with headers and properties a message of about 900 bytes

double seconds_since(Steady::time_point began) { return std::chrono::duration<double>(Steady::now() - began).count(); }

Envelope make_envelope(std::size_t number) {
  const std::string id = "00000000-0000-4000-8000-" + std::to_string(100'000'000'000 + number);
  Envelope envelope;
  envelope.route = {"", "bench"};
  envelope.message.headers = Object{{"lang", "py"},
                                    {"task", "media.thumbnail"},
                                    {"id", id},
                                    {"shadow", nullptr},
                                    {"eta", nullptr},
                                    {"expires", nullptr},
                                    {"group", nullptr},
                                    {"group_index", nullptr},
                                    {"retries", 0},
                                    {"timelimit", Value::array({nullptr, nullptr})},
                                    {"root_id", id},
                                    {"parent_id", nullptr},
                                    {"argsrepr", "('cat.png', 200)"},
                                    {"kwargsrepr", "{}"},
                                    {"origin", "gen4711@host"},
                                    {"ignore_result", false}};
  envelope.message.properties =
      Object{{"correlation_id", id}, {"reply_to", "7f2c9d8e-aaaa-3bbb-8ccc-000000000000"}, {"delivery_mode", 2}};
  envelope.message.body = std::string(kBodyBytes, 'b');
  return envelope;
}

TaskResult result_of(const Delivery& delivery) {
  TaskResult result;
  result.id = delivery.message.headers.at("id").as_text();
  result.state = std::string(state::success);
  result.result_json = "42";
  result.done_at = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
  result.token = delivery.receipt.token;
  return result;
}

struct Row {
  double enqueue = 0, work = 0, all = 0;  // messages per second
};

Row driver(const std::string& file, std::size_t messages, std::size_t batch, bool fused) {
  auto broker = open_broker("sqlite:///" + file);
  auto results = open_result_backend("sqlite:///" + file);
  std::vector<Envelope> envelopes;
  for (std::size_t i = 0; i < messages; ++i) envelopes.push_back(make_envelope(i));
  broker->queues();  // opened, as the other side is
  const auto began = Steady::now();
  for (std::size_t at = 0; at < messages; at += batch) {
    broker->publish(std::span(envelopes).subspan(at, std::min(batch, messages - at)));
  }
  const double enqueued = seconds_since(began);
  auto consumer = broker->consume({.queues = {"bench"}, .owner = "bench"});
  const auto claimed = Steady::now();
  for (std::size_t done = 0; done < messages;) {
    const auto deliveries = consumer->next(batch, Deadline::after(Milliseconds{5'000}));
    if (deliveries.empty()) std::abort();
    std::vector<TaskResult> outcomes;
    std::vector<Settlement> settlements;
    for (const Delivery& delivery : deliveries) {
      outcomes.push_back(result_of(delivery));
      settlements.push_back({.receipt = delivery.receipt});
    }
    if (fused) {
      if (!consumer->commit({{}, outcomes, settlements}, results.get())) std::abort();
    } else {
      results->put(outcomes);
      consumer->settle(settlements);
    }
    done += deliveries.size();
  }
  const double worked = seconds_since(claimed);
  const auto count = static_cast<double>(messages);
  return {count / enqueued, count / worked, count / (enqueued + worked)};
}

// The floor: prepared statements in three transactions, nothing else.
class Raw {
 public:
  explicit Raw(const std::string& file) {
    if (sqlite3_open(file.c_str(), &db_) != SQLITE_OK) std::abort();
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=FULL");
    run("CREATE TABLE message (id INTEGER PRIMARY KEY, meta TEXT NOT NULL, body BLOB NOT NULL)");
    run("CREATE TABLE ready (queue INTEGER, urgency INTEGER, message INTEGER, PRIMARY KEY (queue, urgency, message)) "
        "WITHOUT ROWID");
    run("CREATE TABLE lease (message INTEGER PRIMARY KEY, owner INTEGER, token INTEGER, until INTEGER)");
    run("CREATE TABLE result (id TEXT NOT NULL UNIQUE, state TEXT, result TEXT, done_at INTEGER, token INTEGER)");
    begin_ = prepare("BEGIN IMMEDIATE");
    commit_ = prepare("COMMIT");
    message_ = prepare("INSERT INTO message (meta, body) VALUES (?,?)");
    ready_ = prepare("INSERT INTO ready VALUES (1, 9, ?)");
    take_ = prepare(
        "SELECT r.message, m.meta, m.body FROM ready r JOIN message m ON m.id = r.message WHERE queue = 1 ORDER BY "
        "urgency, message LIMIT ?");
    unready_ = prepare("DELETE FROM ready WHERE queue = 1 AND urgency = 9 AND message = ?");
    lease_ = prepare("INSERT INTO lease VALUES (?,1,1,1)");
    unlease_ = prepare("DELETE FROM lease WHERE message = ?");
    forget_ = prepare("DELETE FROM message WHERE id = ?");
    result_ = prepare("INSERT INTO result VALUES (?,'SUCCESS','42',1,1)");
  }
  ~Raw() {
    for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }

  Row measure(std::size_t messages, std::size_t batch, bool fused) {
    const std::string meta(400, 'm');
    const std::string body(kBodyBytes, 'b');
    const auto began = Steady::now();
    for (std::size_t at = 0; at < messages; at += batch) {
      step(begin_);
      for (std::size_t i = at; i < std::min(messages, at + batch); ++i) {
        sqlite3_bind_text(message_, 1, meta.data(), static_cast<int>(meta.size()), SQLITE_STATIC);
        sqlite3_bind_blob(message_, 2, body.data(), static_cast<int>(body.size()), SQLITE_STATIC);
        step(message_);
        step(ready_, sqlite3_last_insert_rowid(db_));
      }
      step(commit_);
    }
    const double enqueued = seconds_since(began);
    const auto claimed = Steady::now();
    for (std::size_t done = 0; done < messages;) {
      std::vector<sqlite3_int64> ids;
      step(begin_);
      sqlite3_bind_int64(take_, 1, static_cast<sqlite3_int64>(batch));
      while (sqlite3_step(take_) == SQLITE_ROW) {
        ids.push_back(sqlite3_column_int64(take_, 0));
        std::string copy(static_cast<const char*>(sqlite3_column_blob(take_, 2)),
                         static_cast<std::size_t>(sqlite3_column_bytes(take_, 2)));
        if (copy.size() != kBodyBytes) std::abort();
      }
      sqlite3_reset(take_);
      for (const sqlite3_int64 id : ids) {
        step(unready_, id);
        step(lease_, id);
      }
      step(commit_);
      step(begin_);
      for (const sqlite3_int64 id : ids) {
        const std::string task = "00000000-0000-4000-8000-" + std::to_string(100'000'000'000 + id);
        sqlite3_bind_text(result_, 1, task.data(), static_cast<int>(task.size()), SQLITE_TRANSIENT);
        step(result_);
      }
      if (!fused) {
        step(commit_);
        step(begin_);
      }
      for (const sqlite3_int64 id : ids) {
        step(unlease_, id);
        step(forget_, id);
      }
      step(commit_);
      done += ids.size();
    }
    const double worked = seconds_since(claimed);
    const auto count = static_cast<double>(messages);
    return {count / enqueued, count / worked, count / (enqueued + worked)};
  }

 private:
  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) std::abort();
  }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) std::abort();
    statements_.push_back(statement);
    return statement;
  }
  static void step(sqlite3_stmt* statement) {
    if (sqlite3_step(statement) != SQLITE_DONE) std::abort();
    sqlite3_reset(statement);
  }
  static void step(sqlite3_stmt* statement, sqlite3_int64 value) {
    sqlite3_bind_int64(statement, 1, value);
    step(statement);
  }

  sqlite3* db_ = nullptr;
  std::vector<sqlite3_stmt*> statements_;
  sqlite3_stmt *begin_, *commit_, *message_, *ready_, *take_, *unready_, *lease_, *unlease_, *forget_, *result_;
};

void measure_wake(const std::string& file) {
  constexpr int kRounds = 200;
  int pipes[2];
  if (pipe(pipes) != 0) std::abort();
  open_broker("sqlite:///" + file)->queues();
  const pid_t child = fork();
  if (child == 0) {
    auto broker = open_broker("sqlite:///" + file);
    auto consumer = broker->consume({.queues = {"bench"}, .owner = "waiter"});
    for (int i = 0; i < kRounds; ++i) {
      const auto got = consumer->next(1, Deadline::after(Milliseconds{10'000}));
      const std::int64_t came = Steady::now().time_since_epoch().count();
      if (got.empty() || write(pipes[1], &came, sizeof came) != sizeof came) _exit(1);
      consumer->settle(std::vector{Settlement{.receipt = got[0].receipt}});
    }
    _exit(0);
  }
  auto broker = open_broker("sqlite:///" + file);
  std::vector<double> waits;
  for (int i = 0; i < kRounds; ++i) {
    usleep(5'000);  // the consumer is back in its wait, as on an idle machine
    const std::int64_t sent = Steady::now().time_since_epoch().count();
    broker->publish(std::vector{make_envelope(static_cast<std::size_t>(i))});
    std::int64_t came = 0;
    if (read(pipes[0], &came, sizeof came) != sizeof came) std::abort();
    waits.push_back(static_cast<double>(came - sent) / 1'000);
  }
  waitpid(child, nullptr, 0);
  std::sort(waits.begin(), waits.end());
  std::printf("wake                p50 %.0f us   p90 %.0f us   p99 %.0f us\n", waits[kRounds / 2],
              waits[kRounds * 9 / 10], waits[kRounds * 99 / 100]);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t messages = argc > 1 ? static_cast<std::size_t>(std::atoll(argv[1])) : 20'000;
  std::string folder =
      (argc > 2 ? std::string(argv[2]) : std::filesystem::temp_directory_path().string()) + "/errand-bench-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;
  std::printf("%-6s %-6s %27s   %27s   ratio\n", "", "", "driver: enqueue work all", "by hand: enqueue work all");
  for (const bool fused : {false, true}) {
    for (const std::size_t batch : {1, 10, 50, 200}) {
      const std::size_t count = batch == 1 ? std::max<std::size_t>(200, messages / 10) : messages;
      const std::string name = folder + "/" + (fused ? "fused" : "split") + std::to_string(batch);
      const Row mine = driver(name + ".db", count, batch, fused);
      const Row floor = Raw(name + ".raw").measure(count, batch, fused);
      std::printf("%-6s %-6zu %8.0f %8.0f %8.0f      %8.0f %8.0f %8.0f      %.2f\n", fused ? "fused" : "split", batch,
                  mine.enqueue, mine.work, mine.all, floor.enqueue, floor.work, floor.all, mine.all / floor.all);
      std::fflush(stdout);
    }
  }
  measure_wake(folder + "/wake.db");
  std::filesystem::remove_all(folder);
}
