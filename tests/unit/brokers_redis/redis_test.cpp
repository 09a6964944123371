#include "brokers/redis/broker.hpp"

#include "support/redis_server.hpp"

#include <doctest/doctest.h>

#include <thread>

using namespace errand;
using namespace std::chrono_literals;

namespace {

Envelope envelope(const std::string& id, int priority = 0) {
  Envelope one;
  one.route = {"", "q"};
  one.priority = priority;
  one.message.headers = Object{{"id", id}, {"task", "noop"}, {"x", "\"delivery_tag\": \"forged\""}};
  one.message.body = std::string("body\0of ", 8) + id;
  return one;
}

std::string id_of(const Delivery& delivery) { return delivery.message.headers.at("id").as_text(); }
Settlement ack(const Delivery& delivery) { return {.receipt = delivery.receipt}; }

struct Rig {
  explicit Rig(std::vector<std::string> more = {}) : server(std::move(more)) {
    if (server.runs()) {
      broker.emplace(redis::parse_url(server.url()), TransportOptions{});
      raw.emplace(redis::parse_url(server.url()));
    }
  }
  std::unique_ptr<Consumer> consumer(const std::string& owner = "one", Milliseconds lease = 60s) {
    return broker->consume({.queues = {"q"}, .owner = owner, .lease = lease});
  }
  testing::RedisServer server;
  std::optional<redis::RedisBroker> broker;
  std::optional<redis::Connection> raw;
};

}  // namespace

TEST_CASE("messages come in order, priority 0 first, and stand in kombu's tables while they are held") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker->publish(std::vector{envelope("low", 9), envelope("a"), envelope("b", 2)});
  CHECK(rig.raw->call({"LLEN", "q"}).integer == 2);
  CHECK(rig.raw
            ->call({"LLEN", std::string_view("q\x06\x16"
                                             "9",
                                             4)})
            .integer == 1);
  auto reader = rig.consumer();
  auto got = reader->next(10, Deadline::after(5s));
  REQUIRE(got.size() == 3);
  CHECK(id_of(got[0]) == "a");
  CHECK(id_of(got[1]) == "b");
  CHECK(id_of(got[2]) == "low");
  CHECK(got[0].message.body == envelope("a").message.body);
  CHECK(rig.raw->call({"HLEN", "unacked"}).integer == 3);
  CHECK(rig.raw->call({"ZCARD", "unacked_index"}).integer == 3);
  CHECK(rig.broker->inspect("q").leased == 3);
  std::vector<Settlement> all;
  for (const Delivery& delivery : got) all.push_back(ack(delivery));
  reader->settle(all);
  CHECK(reader->stale() == 0);
  CHECK(rig.raw->call({"EXISTS", "unacked", "unacked_index", "errand:leases", "errand:lease-index", "errand:held"})
            .integer == 0);
}

TEST_CASE("F024_a holder that was fenced can neither settle nor store a result") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker->publish(std::vector{envelope("a")});
  auto late = rig.consumer("late");
  const Delivery held = late->next(1, Deadline::after(5s))[0];
  rig.raw->call({"ZADD", "errand:owners", "1", "late"});  // its heartbeat has run out
  auto other = rig.consumer("other");
  auto again = other->next(1, Deadline::after(10s));
  REQUIRE(again.size() == 1);
  CHECK(again[0].redelivered);
  CHECK(again[0].receipt.token > held.receipt.token);
  late->settle(std::vector{ack(held)});
  late->extend(std::vector{held.receipt}, 60s);
  CHECK(late->stale() == 2);
  other->settle(std::vector{ack(again[0])});
  CHECK(other->stale() == 0);
}

TEST_CASE("a parked message is delivered when it is due, requeued ones come first") {
  Rig rig;
  if (!rig.server.runs()) return;
  Envelope later = envelope("later");
  const TimePoint due = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()) + 150ms;
  later.not_before = due;
  rig.broker->publish(std::vector{later});
  auto reader = rig.consumer();
  CHECK(reader->next(1, Deadline::now()).empty());
  CHECK(rig.broker->inspect("q").parked == 1);
  auto got = reader->next(1, Deadline::after(10s));
  REQUIRE(got.size() == 1);
  CHECK(std::chrono::system_clock::now() >= due);
  rig.broker->publish(std::vector{envelope("b")});
  reader->settle(std::vector{Settlement{.receipt = got[0].receipt, .kind = Settlement::Kind::requeue}});
  const Delivery again = reader->next(1, Deadline::after(5s))[0];
  CHECK(id_of(again) == "later");
  CHECK(again.redelivered);
}

TEST_CASE("F108_rubbish on the list is delivered as such, dead-lettered with its bytes and requeued the same") {
  Rig rig;
  if (!rig.server.runs()) return;
  const std::string rubbish("\xff{\"delivery_tag\": \"x\" \0 rubbish", 31);
  rig.raw->call({"LPUSH", "q", rubbish});
  auto reader = rig.consumer();
  const Delivery got = reader->next(1, Deadline::after(5s))[0];
  CHECK_FALSE(got.defect.empty());
  CHECK(got.raw == rubbish);
  reader->settle(std::vector{Settlement{
      .receipt = got.receipt, .kind = Settlement::Kind::dead_letter, .reason = "UNDECODABLE", .detail = got.defect}});
  const auto letters = rig.broker->dead_letters("q", 10, "");
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].raw == rubbish);
  CHECK(letters[0].reason == "UNDECODABLE");
  CHECK(rig.broker->requeue_dead("q", std::vector{letters[0].id}) == 1);
  CHECK(rig.raw->call({"RPOP", "q"}).text == rubbish);
  CHECK(rig.raw->call({"EXISTS", "unacked_index", "errand:leases", "errand:held"}).integer == 0);
}

// kombu gives every copy of a fan-out the same tag, and the table of held messages is keyed by it.
TEST_CASE("two messages with one delivery tag do not disturb each other") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker->publish(std::vector{envelope("a")});
  const std::string copy = rig.raw->call({"LINDEX", "q", "0"}).text;
  rig.raw->call({"LPUSH", "q", copy});
  auto reader = rig.consumer();
  auto got = reader->next(2, Deadline::after(5s));
  REQUIRE(got.size() == 2);
  CHECK(got[0].receipt.id != got[1].receipt.id);
  reader->settle(std::vector{ack(got[0])});
  CHECK(rig.raw->call({"HLEN", "unacked"}).integer == 1);
  reader->settle(std::vector{ack(got[1])});
  CHECK(reader->stale() == 0);
}

// I26: what had to change while it was held does not show in what is kept of it.
TEST_CASE("F121_of two messages with one delivery tag both keep their bytes, dead or put back") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker->publish(std::vector{envelope("a")});
  const std::string sent = rig.raw->call({"LINDEX", "q", "0"}).text;
  for (int i = 0; i < 3; ++i) rig.raw->call({"LPUSH", "q", sent});
  auto reader = rig.consumer();
  auto got = reader->next(4, Deadline::after(5s));
  REQUIRE(got.size() == 4);
  std::vector<Settlement> settlements;
  for (const Delivery& delivery : got) {
    settlements.push_back({.receipt = delivery.receipt, .kind = Settlement::Kind::dead_letter, .reason = "TEST"});
  }
  reader->settle(settlements);
  const auto letters = rig.broker->dead_letters("q", 10, "");
  REQUIRE(letters.size() == 4);
  std::vector<std::string> ids;
  for (const DeadLetter& letter : letters) {
    CHECK(letter.raw == sent);
    ids.push_back(letter.id);
  }
  CHECK(rig.broker->requeue_dead("q", ids) == 4);
  for (const char* index : {"0", "1", "2", "3"}) CHECK(rig.raw->call({"LINDEX", "q", index}).text == sent);
}

TEST_CASE("a push wakes a waiting consumer of any priority, and wake() ends a wait") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto reader = rig.consumer();
  for (const int priority : {0, 9}) {
    std::thread pusher([&] {
      redis::RedisBroker other(redis::parse_url(rig.server.url()), {});
      other.publish(std::vector{envelope("a", priority)});
    });
    const auto before = std::chrono::steady_clock::now();
    CHECK(reader->next(1, Deadline::after(20s)).size() == 1);
    CHECK(std::chrono::steady_clock::now() - before < 10s);
    pusher.join();
  }
  std::thread waker([&] { reader->wake(); });
  CHECK(reader->next(1, Deadline::after(60s)).empty());
  waker.join();
}

// Tracking everything would cost each task a table entry, an invalidation and a push.
TEST_CASE("the server remembers for a worker which lists it waits for, and nothing of its tasks") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto reader = rig.consumer();
  for (const char* id : {"a", "b", "c"}) {
    rig.broker->publish(std::vector{envelope(id)});
    const Delivery held = reader->next(1, Deadline::after(20s))[0];
    reader->extend(std::vector{held.receipt}, 60s);
    reader->settle(std::vector{ack(held)});
  }
  CHECK(reader->next(1, Deadline::after(20ms)).empty());
  constexpr std::string_view kName = "tracking_total_keys:";
  const std::string stats = rig.raw->call({"INFO", "stats"}).text;
  REQUIRE(stats.find(kName) != std::string::npos);
  const int lists_and_parked = 5;
  CHECK(std::stoi(stats.substr(stats.find(kName) + kName.size())) == lists_and_parked);
}

// An ACL of before, or a proxy: it costs latency, not messages.
TEST_CASE("a worker that may track but not choose what looks from time to time instead") {
  Rig rig({"--user", "worker", "on", ">secret", "~*", "&*", "+@all", "-client|caching"});
  if (!rig.server.runs()) return;
  redis::RedisBroker broker(
      redis::parse_url("redis://worker:secret@127.0.0.1:" + std::to_string(rig.server.port()) + "/0"), {});
  auto reader = broker.consume({.queues = {"q"}, .owner = "one"});
  CHECK(reader->next(1, Deadline::after(20ms)).empty());
  std::thread pusher([&] { rig.broker->publish(std::vector{envelope("a")}); });
  CHECK(reader->next(1, Deadline::after(20s)).size() == 1);
  pusher.join();
}

// kombu's restore job compares with its own time: a score that is too small gives a living message away.
TEST_CASE("the time that Python's workers see is in whole seconds and never before the delivery or its renewal") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker->publish(std::vector{envelope("a")});
  auto reader = rig.consumer();
  const auto now = [&] {
    const auto time = rig.raw->call({"TIME"});
    return std::stod(time.elements[0].text) + std::stod(time.elements[1].text) / 1e6;
  };
  const auto score = [&](const Delivery& one) {
    return rig.raw->call({"ZSCORE", "unacked_index", one.receipt.id}).text;
  };
  double before = now();
  const Delivery held = reader->next(1, Deadline::after(5s))[0];
  CHECK(std::stod(score(held)) >= before);
  CHECK(std::stod(score(held)) < now() + 1);
  rig.raw->call({"ZADD", "unacked_index", "1", held.receipt.id});
  before = now();
  reader->extend(std::vector{held.receipt}, 60s);
  CHECK(std::stod(score(held)) >= before);
  CHECK(std::stod(score(held)) < now() + 1);
  CHECK(score(held).find('.') == std::string::npos);
  reader->settle(std::vector{ack(held)});
}

TEST_CASE("F044_a full server refuses with its own word, and nothing is acknowledged without its outcome") {
  Rig rig;
  if (!rig.server.runs()) return;
  rig.broker->publish(std::vector{envelope("a")});
  auto reader = rig.consumer();
  const Delivery held = reader->next(1, Deadline::after(5s))[0];
  rig.raw->call({"CONFIG", "SET", "maxmemory", "1"});
  try {
    rig.broker->publish(std::vector{envelope("b")});
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::overloaded);
  }
  const std::vector<Envelope> follow{envelope("c")};
  const std::vector<Settlement> settlements{ack(held)};
  CHECK_THROWS_AS(reader->commit(Commit{.follow_ups = follow, .settlements = settlements}, nullptr), Error);
  rig.raw->call({"CONFIG", "SET", "maxmemory", "0"});
  CHECK(rig.raw->call({"HLEN", "unacked"}).integer == 1);
  CHECK(reader->commit(Commit{.follow_ups = follow, .settlements = settlements}, nullptr));
  CHECK(rig.raw->call({"HLEN", "unacked"}).integer == 0);
  CHECK(rig.raw->call({"LLEN", "q"}).integer == 1);
}

TEST_CASE("F048_connections that are cut again and again are made again, and every message arrives once settled") {
  Rig rig;
  if (!rig.server.runs()) return;
  auto reader = rig.consumer();
  for (int i = 0; i < 20; ++i) {
    rig.broker->publish(std::vector{envelope(std::to_string(i))});
    bool settled = false;
    std::vector<Settlement> held;
    const Deadline limit = Deadline::after(20s);
    while (!settled && !limit.passed()) {
      try {
        if (held.empty()) {
          for (const Delivery& delivery : reader->next(5, Deadline::after(1s))) held.push_back(ack(delivery));
        }
        if (i % 2 == 0 && !held.empty()) rig.raw->call({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
        reader->settle(held);
        settled = !held.empty();
      } catch (const Error& error) {
        CHECK((error.retryable() || error.kind() == ErrorKind::in_doubt));
      }
    }
    CHECK(settled);
    for (int k = 0; k < 3; ++k) {
      try {
        rig.broker->queues();
        break;
      } catch (const Error&) {
        // the broker's own connection was among those that were cut
      }
    }
  }
}

TEST_CASE("F052_wrong credentials are denied and say what is missing") {
  Rig rig({"--requirepass", "right"});
  if (!rig.server.runs()) return;
  for (const std::string& url :
       {rig.server.url(), "redis://:wrong@127.0.0.1:" + std::to_string(rig.server.port()) + "/0"}) {
    try {
      redis::RedisBroker(redis::parse_url(url), {}).queues();
      FAIL("let in");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::denied);
      CHECK(std::string(error.what()).find("wrong@") == std::string::npos);
    }
  }
  redis::RedisBroker right(redis::parse_url("redis://:right@127.0.0.1:" + std::to_string(rig.server.port()) + "/0"),
                           {});
  CHECK(right.queues().empty());
}

TEST_CASE("a Unix socket serves as well, and prefixes keep sites apart") {
  Rig rig;
  if (!rig.server.runs()) return;
  redis::RedisBroker staging(redis::parse_url("redis+socket://" + rig.server.socket_path()),
                             TransportOptions{.key_prefix = "staging:"});
  staging.publish(std::vector{envelope("a")});
  CHECK(rig.raw->call({"LLEN", "staging:q"}).integer == 1);
  CHECK(rig.broker->inspect("q").ready == 0);
  CHECK(staging.inspect("q").ready == 1);
}

TEST_CASE("F003_a port that refuses is unavailable at once; F004_one that never answers within the limit") {
  redis::RedisBroker refused(redis::parse_url("redis://127.0.0.1:" + std::to_string(testing::free_port())), {});
  CHECK_THROWS_WITH_AS(refused.publish(std::vector{envelope("a")}), doctest::Contains("refused"), Error);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
  listen(listener, 1);
  socklen_t size = sizeof any;
  getsockname(listener, reinterpret_cast<sockaddr*>(&any), &size);
  redis::RedisBroker silent(redis::parse_url("redis://127.0.0.1:" + std::to_string(ntohs(any.sin_port))),
                            TransportOptions{.connect_timeout = 200ms});
  CHECK_THROWS_WITH_AS(silent.publish(std::vector{envelope("a")}), doctest::Contains("no answer in time"), Error);
  close(listener);
}
