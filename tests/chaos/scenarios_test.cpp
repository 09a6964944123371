// Every fail point, killed, paused beyond the lease and failing, on SQLite and on Redis: whatever happens there, every
// task ends in exactly one state, and nothing runs that should not. Where a fault of the catalogue is one such point,
// its own case says what must hold besides.
#include "chaos/scenario.hpp"
#include "support/redis_server.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace errand::chaos;

namespace {

const std::string kKill = "kill";
const std::string kPause = "pause=2200ms";  // the lease is one second
const std::string kError = "error=unavailable";

// One server for the whole program; each scenario has a prefix of its own there.
errand::testing::RedisServer& redis() {
  static errand::testing::RedisServer server;
  return server;
}

std::vector<std::string> brokers() {
  std::vector<std::string> out{"sqlite"};
  if (redis().runs()) out.emplace_back("redis");
  return out;
}

struct Point {
  std::string name;
  Where where = Where::worker;
  bool two_stores = false;
};

// Runs them and demands what holds for all. What each case demands besides, it asks of the outcomes.
std::vector<Outcome> run_all(const std::vector<Point>& points, const std::vector<std::string>& actions) {
  std::vector<Scenario> scenarios;
  for (const std::string& broker : brokers()) {
    for (const Point& point : points) {
      for (const std::string& action : actions) {
        scenarios.push_back({point.name, action, broker, point.where, point.two_stores});
      }
    }
  }
  std::vector<Outcome> out = run_scenarios(scenarios, redis().port());
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::string all;
    for (const std::string& one : out[i].breaks) all += one + "\n";
    INFO(scenarios[i].name());
    INFO(out[i].log);
    CHECK(all == "");
  }
  return out;
}

int most_begins(const Outcome& outcome) {
  int most = 0;
  for (const auto& [id, attempts] : outcome.begins) {
    for (const auto& [number, count] : attempts) most = std::max(most, count);
  }
  return most;
}

int begins(const Outcome& outcome, const std::string& id) {
  const auto life = outcome.begins.find(id);
  return life == outcome.begins.end() ? 0 : life->second.at(0);
}

}  // namespace

TEST_CASE("F001_a sender killed before anything left has sent nothing") {
  for (const Outcome& one : run_all({{"pub.before_send", Where::sender}}, {kKill})) CHECK(one.queued_after_armed == 0);
}

TEST_CASE(
    "F002_a sender killed before it heard the answer has sent it, and the same id sent again runs once more at most") {
  for (const Outcome& one : run_all({{"pub.after_send", Where::sender}}, {kKill})) {
    CHECK(one.queued_after_armed == 1);
    CHECK(most_begins(one) <= 2);
  }
}

TEST_CASE("each fail point of sending, paused and failing, loses nothing and sends nothing that was not asked for") {
  run_all({{"pub.before_send", Where::sender}, {"pub.after_send", Where::sender}, {"pub.after_confirm", Where::sender}},
          {kPause, kError});
  run_all({{"pub.after_confirm", Where::sender}}, {kKill});
}

// Taking a message and recording who has it are one step of the broker.
TEST_CASE("F012_F013_messages of a worker killed while it takes them, or just after, run elsewhere, each once") {
  for (const Outcome& one : run_all({{"fetch.after_pop"}, {"claim.after"}}, {kKill})) {
    CHECK(one.armed_died);
    CHECK(most_begins(one) == 1);
  }
}

TEST_CASE("each fail point of fetching and claiming, killed, paused and failing, loses nothing") {
  run_all({{"fetch.before"}, {"claim.before"}, {"decode.after"}, {"event.received"}}, {kKill, kPause, kError});
  run_all({{"fetch.after_pop"}, {"claim.after"}}, {kPause, kError});
}

// The process that runs it dies, the worker does not: the attempt is closed and told as lost, and runs again.
TEST_CASE("F014_a task whose process is killed under it runs again, and its worker lives") {
  for (const Outcome& one : run_all({{"run.before"}, {"run.in_user_code"}}, {kKill})) {
    CHECK_FALSE(one.armed_died);
    CHECK(one.armed_log.find("lost its process") != std::string::npos);
  }
}

TEST_CASE("each fail point around the running task, killed, paused and failing, loses nothing") {
  run_all({{"run.before"}}, {kPause, kError});
  run_all({{"run.in_user_code"}}, {kPause});
  run_all({{"run.started_row"}, {"run.after"}, {"ipc.send"}, {"ipc.recv"}}, {kKill, kPause, kError});
}

TEST_CASE("an error inside the task's function is that task's failure and nobody else's") {
  std::vector<Scenario> scenarios;
  for (const std::string& broker : brokers()) scenarios.push_back({"run.in_user_code", kError, broker});
  for (const Outcome& one : run_scenarios(scenarios, redis().port())) {
    CHECK(one.breaks.size() == 2);
    for (const std::string& text : one.breaks) {
      INFO(text);
      CHECK(text.find("plain.") != std::string::npos);
      CHECK((text.find("stored: FAILURE") != std::string::npos || text.find("got 0") != std::string::npos));
    }
  }
}

TEST_CASE("F015_a worker killed before the outcome is stored runs it again, once") {
  for (const Outcome& one : run_all({{"result.before"}}, {kKill})) {
    CHECK(one.armed_died);
    CHECK(one.verdict.repeated >= 1);
    CHECK(most_begins(one) == 2);
  }
}

TEST_CASE(
    "F016_what is stored as succeeded is acknowledged after a death before the acknowledgement, and not run again") {
  for (const Outcome& one :
       run_all({{"ack.before", Where::worker, true}, {"result.after", Where::worker, true}}, {kKill})) {
    CHECK(one.armed_died);
    CHECK(one.succeeded_at_death.size() > 0);
    for (const std::string& id : one.succeeded_at_death) {
      INFO(id);
      CHECK(begins(one, id) <= 1);
    }
  }
}

TEST_CASE("F017_a chain goes on whichever moment its worker is killed at") {
  const std::vector<Outcome> all = run_all({{"chain.before_publish"},
                                            {"result.commit_sent"},
                                            {"ack.sent"},
                                            {"chain.before_publish", Where::worker, true},
                                            {"chain.after_publish", Where::worker, true}},
                                           {kKill});
  for (const Outcome& one : all) {
    CHECK(one.armed_died);
    CHECK(begins(one, "chain.2") >= 1);
  }
}

TEST_CASE("F018_a retry killed between its copy and the acknowledgement happens, and no attempt runs three times") {
  const std::vector<Outcome> all = run_all(
      {{"retry.before_publish"}, {"retry.before_publish", Where::worker, true}, {"retry.between", Where::worker, true}},
      {kKill});
  for (const Outcome& one : all) {
    CHECK(one.armed_died);
    CHECK(most_begins(one) <= 2);
  }
}

TEST_CASE("F019_a chord whose last member's worker is killed between count and body has its body run exactly once") {
  for (const Outcome& one : run_all({{"chord.before_count"}, {"chord.between"}}, {kKill})) {
    CHECK(one.armed_died);
    CHECK(begins(one, "chord.body") == 1);
    CHECK(begins(one, "sad.body") == 0);
  }
}

TEST_CASE("each fail point of storing and acknowledging, killed, paused and failing, loses nothing") {
  run_all({{"result.before"},
           {"result.commit_sent"},
           {"ack.sent"},
           {"chain.before_publish"},
           {"retry.before_publish"},
           {"chain.after_publish", Where::worker, true},
           {"retry.between", Where::worker, true},
           {"result.after", Where::worker, true},
           {"ack.before", Where::worker, true},
           {"chord.before_count"},
           {"chord.between"}},
          {kPause, kError});
  run_all({{"deadletter.before"}, {"chord.after_publish"}}, {kKill, kPause, kError});
}

TEST_CASE("each fail point of leases and of giving back, killed, paused and failing, loses nothing") {
  run_all({{"lease.renew"},
           {"sweep.before"},
           {"lease.expire", Where::rescuer},
           {"restore.before", Where::rescuer},
           {"restore.between", Where::rescuer}},
          {kKill, kPause, kError});
}

TEST_CASE("each fail point of stopping, killed, paused and failing, loses nothing") {
  run_all({{"shutdown.begin", Where::stopping}, {"shutdown.return_leases", Where::stopping}}, {kKill, kPause, kError});
}
