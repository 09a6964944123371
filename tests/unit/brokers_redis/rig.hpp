#pragma once
// A real server, a broker on it and a connection that looks past the broker, for the tests of this driver.
#include "brokers/redis/broker.hpp"

#include "protocol/envelope.hpp"
#include "support/redis_server.hpp"

#include <memory>
#include <string>
#include <vector>

namespace errand::redis_test {

using namespace std::chrono_literals;

inline Envelope envelope(const std::string& id) {
  Envelope one;
  one.route = {"", "q"};
  one.message.headers = Object{{"id", id}, {"task", "noop"}};
  one.message.body = "body of " + id;
  return one;
}

inline std::string id_of(const Delivery& delivery) { return delivery.message.headers.at("id").as_text(); }
inline Settlement ack(const Delivery& delivery) { return {.receipt = delivery.receipt}; }

struct Rig {
  explicit Rig(std::vector<std::string> more = {}, TransportOptions transport = {})
      : server(std::move(more)),
        options(std::move(transport)),
        broker(redis::parse_url(server.url()), options),
        raw(redis::parse_url(server.url())) {}
  std::unique_ptr<Consumer> consumer(const std::string& owner, Milliseconds lease = 60s,
                                     std::vector<std::string> queues = {"q"}) {
    return broker.consume({.queues = std::move(queues), .owner = owner, .lease = lease});
  }
  std::int64_t count(std::initializer_list<std::string_view> command) { return raw.call(command).integer; }
  // Python's way to take a message: three commands.
  std::string take_as_python(const std::string& score) {
    const std::string bytes = raw.call({"RPOP", "q"}).text;
    const std::string tag = protocol::read_envelope(bytes).delivery_tag;
    raw.call({"ZADD", "unacked_index", score, tag});
    raw.call({"HSET", "unacked", tag, "[" + bytes + ", \"\", \"q\"]"});
    return tag;
  }
  testing::RedisServer server;
  TransportOptions options;
  redis::RedisBroker broker;
  redis::Connection raw;
};

// A process of its own takes that many messages as owner "dies" and is killed while it holds them. False: it was not.
inline bool die_holding(const Rig& rig, std::size_t count) {
  const pid_t child = fork();
  if (child == 0) {
    redis::RedisBroker broker(redis::parse_url(rig.server.url()), {});
    auto reader = broker.consume({.queues = {"q"}, .owner = "dies", .lease = 500ms});
    for (std::size_t taken = 0; taken < count;) {
      const std::size_t some = reader->next(500, Deadline::after(5s)).size();
      if (some == 0) _exit(1);
      taken += some;
    }
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status);
}

}  // namespace errand::redis_test
