// Redis: publish, fetch and the full cycle (fetch, result, acknowledgement) through the drivers, against a raw
// pipelined hiredis client that does the least an atomic queue needs, in the same run on the same server.
//
//   build/release/bench/redis_bench [messages] [url]      starts its own redis-server without a URL
//
// The raw client publishes ready-made bytes, takes messages with one Lua step that pops and records them in `unacked`
// and `unacked_index`, and answers with SETEX, PUBLISH, ZREM and HDEL for each. It encodes and decodes nothing, has
// no owners, tokens or priorities, and cannot tell whose a message is.
#include "backends/redis/backend.hpp"
#include "brokers/redis/broker.hpp"
#include "core/uuid.hpp"
#include "protocol/envelope.hpp"
#include "protocol/result_json.hpp"

#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace errand;

namespace {

Envelope message(std::size_t number) {
  Envelope envelope;
  envelope.route = {"", "bench"};
  const std::string id = core::uuid4();
  envelope.message.headers = Object{{"lang", "py"},
                                    {"task", "proj.add"},
                                    {"id", id},
                                    {"shadow", Value()},
                                    {"eta", Value()},
                                    {"expires", Value()},
                                    {"group", Value()},
                                    {"group_index", Value()},
                                    {"retries", 0},
                                    {"timelimit", Value::array({Value(), Value()})},
                                    {"root_id", id},
                                    {"parent_id", Value()},
                                    {"argsrepr", "(2, 3)"},
                                    {"kwargsrepr", "{}"},
                                    {"origin", "gen14263@vm"},
                                    {"ignore_result", false}};
  envelope.message.properties = Object{{"correlation_id", id}, {"reply_to", core::uuid4()}};
  envelope.message.body = "[[2, " + std::to_string(number) +
                          R"(], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}])";
  return envelope;
}

TaskResult result_of(const std::string& id, std::uint64_t token) {
  TaskResult result;
  result.id = id;
  result.state = "SUCCESS";
  result.result_json = "5";
  result.done_at = TimePoint{std::chrono::seconds{1'795'326'346}};
  result.token = token;
  return result;
}

double per_second(std::size_t count, const std::function<void()>& work) {
  const auto before = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
  return static_cast<double>(count) / took.count();
}

// The yardstick.
class Raw {
 public:
  Raw(int port) : context_(redisConnect("127.0.0.1", port)) {
    if (context_ == nullptr || context_->err != 0) std::exit(1);
    constexpr const char* kFetch =
        "local now = redis.call('TIME') local stamp = now[1] .. '.' .. now[2]\n"
        "local got = redis.call('RPOP', KEYS[1], ARGV[1]) if not got then return {} end\n"
        "local hash, index = {}, {}\n"
        "for i, m in ipairs(got) do\n"
        "  local tag = string.match(string.sub(m, -80), '\"delivery_tag\": \"([^\"]+)\"')\n"
        "  hash[2*i-1], hash[2*i] = tag, '[' .. m .. ', \"\", \"bench\"]'\n"
        "  index[2*i-1], index[2*i] = stamp, tag\n"
        "end\n"
        "redis.call('ZADD', KEYS[3], unpack(index)) redis.call('HSET', KEYS[2], unpack(hash)) return got";
    redisReply* reply = command({"SCRIPT", "LOAD", kFetch});
    sha_ = reply->str;
    freeReplyObject(reply);
  }
  ~Raw() { redisFree(context_); }

  void append(const std::vector<std::string>& words) {
    std::vector<const char*> argv;
    std::vector<std::size_t> sizes;
    for (const std::string& word : words) {
      argv.push_back(word.data());
      sizes.push_back(word.size());
    }
    redisAppendCommandArgv(context_, static_cast<int>(argv.size()), argv.data(), sizes.data());
  }
  redisReply* reply() {
    void* out = nullptr;
    if (redisGetReply(context_, &out) != REDIS_OK) std::exit(1);
    return static_cast<redisReply*>(out);
  }
  redisReply* command(const std::vector<std::string>& words) {
    append(words);
    return reply();
  }
  void run(const std::vector<std::string>& words) { freeReplyObject(command(words)); }

  void publish(const std::vector<std::string>& ready, std::size_t batch) {
    for (std::size_t at = 0; at < ready.size(); at += batch) {
      std::vector<std::string> words{"LPUSH", "bench"};
      for (std::size_t i = at; i < std::min(ready.size(), at + batch); ++i) words.push_back(ready[i]);
      run(words);
    }
  }
  // Returns the tags of a batch.
  std::vector<std::string> fetch(std::size_t batch) {
    redisReply* got = command({"EVALSHA", sha_, "3", "bench", "unacked", "unacked_index", std::to_string(batch)});
    std::vector<std::string> tags;
    for (std::size_t i = 0; i < got->elements; ++i) {
      const std::string_view bytes(got->element[i]->str, got->element[i]->len);
      const std::size_t at = bytes.rfind("\"delivery_tag\": \"") + 17;
      tags.emplace_back(bytes.substr(at, 36));
    }
    freeReplyObject(got);
    return tags;
  }
  void finish(const std::vector<std::string>& tags, bool results) {
    static const std::string record = protocol::encode_result(result_of("11111111-2222-4333-8444-000000000001", 0));
    for (const std::string& tag : tags) {
      if (results) {
        append({"SETEX", "celery-task-meta-" + tag, "86400", record});
        append({"PUBLISH", "celery-task-meta-" + tag, record});
      }
      append({"ZREM", "unacked_index", tag});
      append({"HDEL", "unacked", tag});
    }
    for (std::size_t i = 0; i < tags.size() * (results ? 4 : 2); ++i) freeReplyObject(reply());
  }

 private:
  redisContext* context_;
  std::string sha_;
};

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any);
  socklen_t size = sizeof any;
  getsockname(fd, reinterpret_cast<sockaddr*>(&any), &size);
  close(fd);
  return ntohs(any.sin_port);
}

void line(const char* what, std::size_t batch, double ours, double raw) {
  std::printf("%-34s %5zu %12.0f %12.0f %8.2f\n", what, batch, ours, raw, ours / raw);
  std::fflush(stdout);
}

// From LPUSH by somebody else to the message in the hands of an idle consumer.
void latency(redis::RedisBroker& broker, int port) {
  auto consumer = broker.consume({.queues = {"idle"}, .owner = "idle"});
  Raw raw(port);
  std::vector<double> took;
  constexpr int kTimes = 500;
  Envelope envelope = message(0);
  envelope.route.routing_key = "idle";
  for (int i = 0; i < kTimes; ++i) {
    std::chrono::steady_clock::time_point sent;
    std::thread sender([&] {
      poll(nullptr, 0, 3);  // until the consumer sleeps
      const std::string bytes = protocol::encode_envelope(envelope, core::uuid4());
      sent = std::chrono::steady_clock::now();
      raw.run({"LPUSH", "idle", bytes});
    });
    const auto got = consumer->next(1, Deadline::after(std::chrono::seconds(5)));
    const auto now = std::chrono::steady_clock::now();
    const std::vector<Settlement> done{{.receipt = got[0].receipt}};
    consumer->settle(done);
    sender.join();
    took.push_back(std::chrono::duration<double, std::micro>(now - sent).count());
  }
  std::sort(took.begin(), took.end());
  std::printf("start from idle: p50 %.0f us, p99 %.0f us\n", took[kTimes / 2], took[kTimes * 99 / 100]);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 20'000;
  int port = argc > 2 ? redis::parse_url(argv[2]).address.port : 0;
  pid_t server = 0;
  char folder[] = "/tmp/errand-bench-XXXXXX";
  if (port == 0) {
    port = free_port();
    if (mkdtemp(folder) == nullptr) return 1;
    server = fork();
    if (server == 0) {
      execlp("redis-server", "redis-server", "--port", std::to_string(port).c_str(), "--save", "", "--dir", folder,
             "--logfile", "log", static_cast<char*>(nullptr));
      _exit(127);
    }
    poll(nullptr, 0, 500);
  }
  {
    const redis::Url url = redis::parse_url("redis://127.0.0.1:" + std::to_string(port) + "/0");
    redis::RedisBroker broker(url, {});
    redis::RedisBackend backend(url, {});
    Raw raw(port);
    std::vector<Envelope> envelopes;
    std::vector<std::string> ready;
    for (std::size_t i = 0; i < count; ++i) {
      envelopes.push_back(message(i));
      ready.push_back(protocol::encode_envelope(envelopes.back(), core::uuid4()));
    }
    std::printf("%zu messages of %zu bytes\n%-34s %5s %12s %12s %8s\n", count, ready.front().size(), "", "batch",
                "errand/s", "raw/s", "ratio");
    for (const std::size_t batch : {1, 10, 50, 200}) {
      const auto publish = [&] {
        for (std::size_t at = 0; at < count; at += batch) {
          broker.publish(std::span(envelopes).subspan(at, std::min(batch, count - at)));
        }
      };
      raw.run({"FLUSHALL"});
      const double published = per_second(count, publish);
      raw.run({"FLUSHALL"});
      line("publish", batch, published, per_second(count, [&] { raw.publish(ready, batch); }));

      // `rest`: what is done with a batch besides fetching it.
      const auto cycle = [&](bool results) {
        auto consumer = broker.consume({.queues = {"bench"}, .owner = "bench"});
        std::size_t left = count;
        while (left > 0) {
          const auto got = consumer->next(batch, Deadline::after(std::chrono::seconds(5)));
          std::vector<Settlement> settlements;
          std::vector<TaskResult> records;
          for (const Delivery& delivery : got) {
            settlements.push_back({.receipt = delivery.receipt});
            if (results) {
              records.push_back(result_of(delivery.message.headers.at("id").as_text(), delivery.receipt.token));
            }
          }
          consumer->commit(Commit{{}, records, settlements}, &backend);
          left -= got.size();
        }
      };
      const auto raw_cycle = [&](bool results) {
        for (std::size_t left = count; left > 0;) {
          const auto tags = raw.fetch(batch);
          raw.finish(tags, results);
          left -= tags.size();
        }
      };
      for (const bool results : {false, true}) {
        raw.run({"FLUSHALL"});
        raw.publish(ready, 200);
        const double ours = per_second(count, [&] { cycle(results); });
        raw.run({"FLUSHALL"});
        raw.publish(ready, 200);
        line(results ? "fetch, result, acknowledge" : "fetch, acknowledge", batch, ours,
             per_second(count, [&] { raw_cycle(results); }));
      }
      raw.run({"FLUSHALL"});
      raw.publish(ready, 200);
      {
        auto consumer = broker.consume({.queues = {"bench"}, .owner = "bench"});
        std::size_t left = count;
        const double fetched = per_second(count, [&] {
          while (left > 0) left -= consumer->next(batch, Deadline::after(std::chrono::seconds(5))).size();
        });
        raw.run({"FLUSHALL"});
        raw.publish(ready, 200);
        line("fetch", batch, fetched, per_second(count, [&] {
               for (std::size_t rest = count; rest > 0;) rest -= raw.fetch(batch).size();
             }));
        raw.run({"FLUSHALL"});
      }
    }
    latency(broker, port);
  }
  if (server > 0) {
    kill(server, SIGKILL);
    waitpid(server, nullptr, 0);
    std::filesystem::remove_all(folder);
  }
}
