#include "brokers/redis/marks.hpp"

#include "brokers/redis/dead_letters.hpp"
#include "brokers/redis/keys.hpp"
#include "brokers/redis/outgoing.hpp"
#include "brokers/redis/stored.hpp"
#include "protocol/envelope.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

using namespace errand;

namespace {

// As Celery 5.2 writes it, shortened.
const std::string kEnvelope =
    R"({"body": "W10=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"task": "proj.add", "id": "1", "x": {"headers": {}}}, )"
    R"("properties": {"correlation_id": "1", "delivery_info": {"exchange": "", "routing_key": "q"}, "body_encoding": "base64", "delivery_tag": "t"}})";

redis::Reply text(std::string value) { return {.kind = redis::Reply::Kind::text, .text = std::move(value)}; }

}  // namespace

TEST_CASE("marks stand where kombu puts its own, count deliveries, and leave no trace when taken out") {
  const std::string marked = redis::with_marks(kEnvelope, {3, 1'795'326'346'598'707});
  const Value value = parse_json(marked);
  CHECK(value.find("headers")->find("redelivered")->as_bool());
  CHECK(value.find("properties")->find("delivery_info")->find("redelivered")->as_bool());
  CHECK_FALSE(value.find("headers")->find("x")->find("headers")->find("redelivered"));
  protocol::StoredMessage stored = protocol::read_envelope(marked);
  CHECK(stored.redelivered);
  const redis::Marks marks = redis::take_marks(stored.message.properties);
  CHECK(marks.deliveries == 3);
  CHECK(marks.first_seen_us == 1'795'326'346'598'707);
  CHECK(stored.message.properties == protocol::read_envelope(kEnvelope).message.properties);
  CHECK(redis::with_marks(marked, {4, 5}) == redis::with_marks(kEnvelope, {4, 5}));
  CHECK(redis::without_marks(marked) == kEnvelope);
  CHECK(redis::without_marks(kEnvelope) == kEnvelope);
}

TEST_CASE("marks fit into empty and odd objects, and what is no envelope stays as it is") {
  for (const std::string& envelope : std::vector<std::string>{
           R"({"headers": {}, "properties": {}})", R"({"headers": { }, "properties": {"delivery_info": {}}})",
           R"({"headers":null,"properties":{"a":1}})",
           R"({"properties":{"delivery_info":{"exchange":"x"}},"headers":{"a":2}})"}) {
    CAPTURE(envelope);
    const std::string marked = redis::with_marks(envelope, {1, 2});
    CHECK_NOTHROW(parse_json(marked));
    CHECK(redis::without_marks(marked) == envelope);
  }
  for (const std::string& rubbish :
       std::vector<std::string>{"", "{", "rubbish", "[1]", "{\"headers\": {", std::string(1000, '[')}) {
    CAPTURE(rubbish);
    CHECK(redis::with_marks(rubbish, {1, 2}) == rubbish);
    CHECK(redis::without_marks(rubbish) == rubbish);
  }
}

TEST_CASE("a dead letter keeps the sender's bytes, and a damaged record its bytes at least") {
  const TimePoint now{std::chrono::seconds{1'795'326'346}};
  const Settlement settlement{.kind = Settlement::Kind::dead_letter, .reason = "UNKNOWN_TASK", .detail = "line\none"};
  const std::string record = redis::encode_dead(settlement, {2, 1'795'326'000'000'000}, now,
                                                "pre:q\x06\x16"
                                                "3",
                                                redis::with_marks(kEnvelope, {2, 1}));
  const DeadLetter letter = redis::decode_dead("q", "7", record);
  CHECK(letter.raw == kEnvelope);
  CHECK(letter.reason == "UNKNOWN_TASK");
  CHECK(letter.detail == "line\none");
  CHECK(letter.deliveries == 2);
  CHECK(letter.first_seen == TimePoint{std::chrono::seconds{1'795'326'000}});
  CHECK(letter.last_seen == now);
  CHECK(letter.task == "proj.add");
  CHECK(letter.task_id == "1");
  CHECK(redis::decode_dead("q", "7", "no record").raw == "no record");
}

TEST_CASE("keys are kombu's, with the prefix in front") {
  const redis::Keys keys("pfx:", {0, 3, 6, 9});
  CHECK(keys.list("celery", 2) == "pfx:celery");
  CHECK(keys.list("celery", 5) == std::string("pfx:celery\x06\x16"
                                              "3",
                                              13));
  CHECK(keys.lists("celery").size() == 4);
  CHECK(keys.unacked() == "pfx:unacked");
  CHECK(keys.unacked_index() == "pfx:unacked_index");
  CHECK(keys.unacked_mutex() == "pfx:unacked_mutex");
  CHECK(keys.binding("celery") == "pfx:_kombu.binding.celery");
  CHECK(keys.channel(13, "celeryev", "worker.heartbeat") == "pfx:/13.celeryev/worker.heartbeat");
  CHECK(keys.channel(13, "celery.pidbox", "") == "pfx:/13.celery.pidbox");
  CHECK(keys.pattern(5, "celeryev", "worker.#") == "pfx:/5.celeryev/worker.*");
  CHECK(redis::queue_of_list(keys, keys.list("celery", 9)) == "celery");
  CHECK(redis::parse_lease("17|node/1|pfx:q").token == 17);
  CHECK(redis::parse_lease("17|node/1|pfx:a|b").list == "pfx:a|b");
  CHECK(redis::parse_lease("damaged").list.empty());
  for (const std::vector<int>& steps : std::vector<std::vector<int>>{{}, {1, 2}, {0, 3, 3}, {0, 5, 4}, {0, 10}}) {
    CHECK_THROWS_AS(redis::Keys("", steps), Error);
  }
}

TEST_CASE("the envelope is cut out of what is held, also when it is broken") {
  CHECK(redis::stored_envelope("[" + kEnvelope + ",\"\",\"q\"]", "q") == kEnvelope);
  CHECK(redis::stored_envelope("[" + kEnvelope + ", \"\", \"q\"]", "q") == kEnvelope);
  CHECK(redis::stored_envelope("[{broken,\"\",\"ü\\\"q\"]", "ü\"q") == "[{broken,\"\",\"ü\\\"q\"]");
  CHECK(redis::stored_envelope("[{broken,\"\",\"q\"]", "q") == "{broken");
  CHECK(redis::stored_envelope("[" + kEnvelope + ",\"tasks\",\"a.b\"]", "q") == kEnvelope);  // as Python may write it
}

TEST_CASE("a named exchange sends to the queues whose bindings match, as kombu does") {
  const std::string sep = "\x06\x16";
  const std::vector<redis::Reply> bindings{text("task.#" + sep + "^task\\..*?$" + sep + "q1"),
                                           text("plain.key" + sep + "^plain\\.key$" + sep + "q4"),
                                           text("k" + sep + sep + "q6"), text("k" + sep + sep + "q7"), text("damaged")};
  CHECK(redis::bound_queues({"tx", "task.add"}, bindings) == std::vector<std::string>{"q1"});
  CHECK(redis::bound_queues({"tx", "task"}, bindings).empty());
  CHECK(redis::bound_queues({"dx", "k"}, bindings) == std::vector<std::string>{"q6", "q7"});
}
