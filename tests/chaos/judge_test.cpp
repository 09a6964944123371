// The judges themselves: a book with each kind of mistake in it, and the mistake is named. A judge that finds nothing
// proves nothing.
#include "chaos/judge.hpp"
#include "chaos/bulk.hpp"
#include "support/folder.hpp"

#include <errand/drivers.hpp>

#include <doctest/doctest.h>

#include <fstream>

using namespace errand;
using namespace errand::chaos;

namespace {

// Books and a store in which everything went well, to be spoilt.
struct Court {
  Court() : workload(make_workload("w", 2)) {
    broker = open_broker("sqlite:///" + folder.file(), {});
    results = open_result_backend("sqlite:///" + folder.file(), {});
    for (const Signature& call : workload.calls) {
      note("sent", call.options.task_id, 0, 's', 1'000);
      note("sent", call.options.task_id, 0, 'a', 1'000);
    }
    std::int64_t now = 1'000'000'000'000'000'000;  // behind every ETA
    // In an order in which everything ends after what it follows.
    std::vector<std::string> waiting;
    for (const auto& [id, expected] : workload.expected) waiting.push_back(id);
    std::map<std::string, bool> done;
    while (done.size() < waiting.size()) {
      for (const std::string& id : waiting) {
        const Expected& expected = workload.expected.at(id);
        bool ready = !done.contains(id);
        for (const std::string& before : expected.after) ready = ready && done.contains(before);
        if (!ready) continue;
        for (std::uint32_t i = 0; expected.runs && i < expected.attempts; ++i) {
          note("effects", id, i, 'b', now += 1'000'000);
          note("effects", id, i, 'e', now += 1'000);
        }
        end(id, expected);
        done[id] = true;
      }
    }
  }

  void note(const std::string& book, const std::string& id, std::uint32_t attempt, char step, std::int64_t at) {
    std::ofstream(folder.file(book), std::ios::app) << id << ' ' << attempt << ' ' << step << ' ' << at << " 1 w-0\n";
  }

  void store(const std::string& id, std::string_view state) {
    results->forget(id);
    TaskResult result;
    result.id = id;
    result.state = std::string(state);
    results->put({&result, 1});
  }

  void end(const std::string& id, const Expected& expected) {
    if (expected.end != End::dead) return store(id, expected.end == End::success ? state::success : state::failure);
    dead(id, expected.reason);
  }

  void dead(const std::string& id, const std::string& reason) {
    Envelope envelope;
    envelope.route = {"", std::string(kQueue)};
    envelope.message.headers.set("id", id);
    envelope.message.headers.set("task", "chaos.any");
    envelope.message.body = "[[], {}, {}]";
    broker->declare({{QueueSpec{std::string(kQueue), "", "direct", ""}}});
    broker->publish({&envelope, 1});
    const auto consumer = broker->consume({.queues = {std::string(kQueue)}, .owner = "court"});
    const auto got = consumer->next(1, Deadline::after(std::chrono::seconds(10)));
    REQUIRE(got.size() == 1);
    const Settlement settlement{.receipt = got[0].receipt, .kind = Settlement::Kind::dead_letter, .reason = reason};
    consumer->settle({&settlement, 1});
  }

  std::string verdict(std::uint32_t repeats = 0) {
    const Verdict found = judge(workload, folder.file("sent"), folder.file("effects"), *broker, *results, {repeats});
    std::string all;
    for (const std::string& one : found.breaks) all += one + "\n";
    return all;
  }

  testing::Folder folder;
  Workload workload;
  std::unique_ptr<Broker> broker;
  std::unique_ptr<ResultBackend> results;
};

bool says(const std::string& verdict, const std::string& start) { return verdict.find(start) != std::string::npos; }

}  // namespace

TEST_CASE("the judge finds nothing wrong where nothing is") { CHECK(Court().verdict() == ""); }

TEST_CASE("the judge names a lost result, a wrong one, and one that is dead besides") {
  Court court;
  court.results->forget("w.plain.0");
  court.store("w.fails", state::success);
  court.dead("w.plain.1", "ODD");
  const std::string found = court.verdict();
  CHECK(says(found, "I1 w.plain.0: expected SUCCESS, stored: nothing"));
  CHECK(says(found, "I1 w.fails: expected FAILURE, stored: SUCCESS"));
  CHECK(says(found, "I1 w.plain.1: dead-lettered as ODD"));
}

TEST_CASE("the judge names what ran and was never sent, and what ran too often") {
  Court court;
  court.note("effects", "w.ghost", 0, 'b', 5'000);
  court.note("effects", "w.plain.0", 0, 'b', 2'000'000'000'000'000'000);
  CHECK(says(court.verdict(), "I3 w.ghost: ran, and nobody sent it"));
  CHECK(says(court.verdict(), "I5 w.plain.0: attempt 0 began 2 times"));
  CHECK_FALSE(says(court.verdict(1), "I5"));
}

TEST_CASE("the judge names an early ETA, an early retry, a missing one, and a chord's body before its members' end") {
  Court court;
  court.note("effects", "w.eta", 0, 'b', 1);
  court.note("effects", "w.retries", 1, 'b', 1);
  court.note("effects", "w.gives_up", 3, 'b', 1);
  court.note("effects", "w.chord.body", 0, 'b', 1);
  court.note("effects", "w.sad.body", 0, 'b', 1);
  const std::string found = court.verdict(1);
  CHECK(says(found, "I10 w.eta"));
  CHECK(says(found, "I11 w.retries: attempt 1 came too early"));
  CHECK(says(found, "I11 w.gives_up: expected 3 attempts, got 4"));
  CHECK(says(found, "I8 w.chord.body: began before w.chord.0 had ended"));
  CHECK(says(found, "I8 w.sad.body: its body ran"));
}

TEST_CASE("the judge names a message that is left over") {
  Court court;
  Envelope envelope;
  envelope.route = {"", std::string(kQueue)};
  envelope.message.body = "[]";
  court.broker->publish({&envelope, 1});
  CHECK(says(court.verdict(), "holds 1 ready"));
}

namespace {

struct BulkCourt {
  void note(const std::string& book, std::uint32_t number, char step, std::int64_t at, const std::string& who = "w-0") {
    std::ofstream(folder.file(book), std::ios::app)
        << bulk_id("r", {0, number}) << " 0 " << step << ' ' << at << " 1 " << who << "\n";
  }
  void sent(std::uint32_t number) {
    note("sent", number, 's', 1);
    note("sent", number, 'a', 2);
  }
  BulkVerdict verdict(const Losses& losses = {}) {
    BulkQuestion question;
    question.run = "r";
    question.counts = {4};
    question.sent = folder.file("sent");
    question.effects = folder.file("effects");
    question.results_url = "sqlite:///" + folder.file();
    question.stored = stored;
    return judge_bulk(question, losses);
  }
  testing::Folder folder;
  bool stored = false;
};

}  // namespace

TEST_CASE("the bulk judge tells lost, unexpected and stolen from what a loss excuses") {
  BulkCourt court;
  for (std::uint32_t i = 0; i < 3; ++i) court.sent(i);
  court.note("effects", 0, 'b', 100);
  court.note("effects", 0, 'b', 300, "w-1");  // while w-0 still had it?
  court.note("effects", 1, 'b', 100);
  court.note("effects", 3, 'b', 100);
  const BulkVerdict found = court.verdict();
  REQUIRE(found.lost.size() == 1);
  CHECK(found.lost[0] == "r.0.2: never ran");
  REQUIRE(found.unexpected.size() == 1);
  CHECK(found.unexpected[0] == "r.0.3: ran, never sent");
  CHECK(found.stolen.size() == 1);
  CHECK(found.repeated == 1);
  // Excused by the death of the worker that had it, not by one that came later or of another.
  CHECK(court.verdict({{"w-0", {.from_us = 200}}}).stolen.empty());
  CHECK(court.verdict({{"*", {.from_us = 200, .until_us = 210}}}).stolen.empty());
  CHECK(court.verdict({{"w-0", {.from_us = 400}}}).stolen.size() == 1);
  CHECK(court.verdict({{"w-0", {.from_us = 50, .until_us = 60}}}).stolen.size() == 1);
  CHECK(court.verdict({{"w-1", {.from_us = 200}}}).stolen.size() == 1);
  court.stored = true;
  CHECK(court.verdict().lost.size() == 5);  // and none has a stored success
}
