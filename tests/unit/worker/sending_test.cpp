// Signed messages: one sending is acknowledged once, wherever copies of it turn up (F124).
#include "unit/worker/engine_bench.hpp"
#include "worker/committer.hpp"

#include <errand/drivers.hpp>
#include <errand/signing.hpp>

#include <doctest/doctest.h>

using namespace errand;
using namespace errand::worker;
using errand::worker::testing::EngineBench;
using namespace std::chrono_literals;

namespace {

Arrival signed_message(EngineBench& bench, const std::string& task = "noop") {
  Arrival arrival = bench.message("t1", task);
  arrival.sending_id = "errand-sent-k;n";
  return arrival;
}

std::vector<TaskId> stored_beside(const EngineBench& bench) {
  std::vector<TaskId> ids;
  if (const auto& ended = bench.entry().sending_ended) ids.push_back(ended->id);
  return ids;
}

const std::vector<TaskId> kEnded{"errand-sent-k;n"};

}  // namespace

TEST_CASE("F124_that a signed message was acknowledged is stored with its outcome, whatever that is") {
  using Kind = Outcome::Kind;
  for (const Kind kind : {Kind::success, Kind::failure, Kind::ignore, Kind::retry}) {
    EngineBench bench;
    bench.finish(bench.running(signed_message(bench)), kind);
    CHECK(stored_beside(bench) == kEnded);
  }
  EngineBench early;
  early.add("early", {.acks_late = false});
  early.deliver(signed_message(early, "early"));
  CHECK(early.capacity(1) == "commit ack");
  CHECK(stored_beside(early) == kEnded);
  EngineBench plain;
  plain.finish(plain.running("t1"), Kind::success);
  CHECK(stored_beside(plain).empty());
}

TEST_CASE("a signed message that waits, goes back or may be put back by an operator has not ended") {
  EngineBench bench;
  Arrival later = signed_message(bench);
  later.eta = bench.now.wall + 1h;
  CHECK(bench.deliver(later) == "commit park");
  CHECK(stored_beside(bench).empty());
  CHECK(bench.deliver(signed_message(bench, "nobody knows")) == "commit FAILURE dead:UNKNOWN_TASK");
  CHECK(stored_beside(bench).empty());
  CHECK(bench.finish(bench.running(signed_message(bench)), Outcome::Kind::requeue) == "commit park");
  CHECK(stored_beside(bench).empty());
}

TEST_CASE("F124_a copy of a message that has ended elsewhere is dead, and the broker's second delivery acknowledged") {
  EngineBench bench;
  Arrival copy = signed_message(bench);
  copy.sending_ended = true;
  CHECK(bench.deliver(copy) == "commit dead:SIGNATURE_REPLAYED");
  copy.redelivered = true;
  CHECK(bench.deliver(copy) == "commit ack");
  copy.redelivered = false;
  copy.deliveries = 2;
  CHECK(bench.deliver(copy) == "commit ack");
}

TEST_CASE(
    "F124_what a message asked for is sent in the name of whoever signed it, what its task wishes in the worker's "
    "own") {
  for (const std::string signer : {"web", ""}) {
    EngineBench bench;
    Arrival arrival = bench.message("t1");
    arrival.signed_by = signer;
    Outcome outcome;
    outcome.run = bench.running(arrival);
    outcome.kind = Outcome::Kind::success;
    outcome.follow_ups.resize(2);
    outcome.follow_ups[1].asked_by.emplace();
    bench.finish(std::move(outcome));
    CHECK_FALSE(bench.entry().follow_ups[0].asked_by.has_value());
    CHECK(bench.entry().follow_ups[1].asked_by == signer);
    for (const Outcome::Kind kind : {Outcome::Kind::retry, Outcome::Kind::lost}) {
      EngineBench again;
      Arrival same = again.message("t1");
      same.signed_by = signer;
      again.finish(again.running(same), kind);
      CHECK(again.entry().follow_ups.at(0).asked_by == signer);
    }
  }
}

// What was signed was another message, and a worker that signs nothing must not send a signature that is wrong.
TEST_CASE("retries and the copies that follow a crash do not carry the signature of the message before") {
  for (const Outcome::Kind kind : {Outcome::Kind::retry, Outcome::Kind::lost}) {
    EngineBench bench;
    Arrival arrival = bench.message("t1");
    Message text = *arrival.message;
    text.headers.set(std::string(kSignatureHeader), "1;k;ed25519;1;n;s");
    arrival.message = std::make_shared<const Message>(std::move(text));
    bench.finish(bench.running(arrival), kind);
    REQUIRE(bench.entry().follow_ups.size() == 1);
    CHECK_FALSE(bench.entry().follow_ups[0].message.headers.contains(kSignatureHeader));
  }
}

// The message is in the dead letters, and an operator who has made room for its outcome puts it back.
TEST_CASE("a sending whose acknowledgement was refused has not ended") {
  const std::string url = "memory://sending-refused";
  auto broker = open_broker(url, {.max_message_bytes = 100});
  auto results = open_result_backend(url);
  broker->declare({.queues = {QueueSpec{.name = "celery"}}});
  Envelope one{.route = {"", "celery"}, .message = {}};
  broker->publish({&one, 1});
  auto consumer = broker->consume({.queues = {"celery"}, .owner = "w"});
  const auto got = consumer->next(1, Deadline::after(5s));
  REQUIRE(got.size() == 1);
  Committer committer(*broker, *consumer, results.get(), 1min);
  CommitEntry entry{.run = 1, .settlement = Settlement{.receipt = got[0].receipt}};
  one.message.body = std::string(200, 'x');
  entry.follow_ups.push_back(one);
  TaskResult ended;
  ended.id = "errand-sent-k;n";
  ended.state = std::string(state::success);
  entry.sending_ended = ended;
  committer.add(std::move(entry));
  CHECK(committer.flush({TimePoint{}, SteadyPoint{}}, 0) == std::vector<std::uint64_t>{1});
  REQUIRE(broker->dead_letters("celery", 10, "").size() == 1);
  CHECK(broker->dead_letters("celery", 10, "")[0].reason == "COMMIT_REFUSED");
  CHECK_FALSE(results->get("errand-sent-k;n"));
}
