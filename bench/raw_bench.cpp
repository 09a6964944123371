// The raw clients (raw.hpp) under the same measurement as worker_bench: one run, one line of JSON.
//
//   raw_bench drain  --broker redis://127.0.0.1:6379/9 --tasks 100000 --batch 128
//   raw_bench steady --broker sqlite:////var/tmp/bench.db --tasks 100000 --batch 128
//
// drain takes what worker_bench fill has sent. steady first takes those messages out, then sends the same bytes from
// another process while it works.
#include "raw.hpp"
#include "wire/redis/url.hpp"
#include "wire/sqlite/store.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

using namespace errand::bench;

namespace {

std::unique_ptr<RawClient> open_client(const std::string& broker) {
  if (broker.starts_with("sqlite:")) return raw_sqlite(errand::sqlite::path_of_url(broker));
  const errand::redis::Url url = errand::redis::parse_url(broker);
  return raw_redis(url.address.host, url.address.port, url.database);
}

int run(const std::string& mode, const std::string& broker, std::size_t tasks, std::size_t batch) {
  const auto client = open_client(broker);
  pid_t producer = 0;
  auto begin = std::chrono::steady_clock::now();
  if (mode == "steady") {
    const std::vector<RawMessage> messages = client->take_all();
    if (messages.size() != tasks) return 1;
    begin = std::chrono::steady_clock::now();
    producer = fork();
    if (producer == 0) {
      open_client(broker)->publish(messages, batch);
      _exit(0);
    }
  }
  std::size_t taken = 0;
  while (taken < tasks) {
    const std::size_t got = client->cycle(batch);
    taken += got;
    if (got == 0) usleep(100);
  }
  client->cycle(batch);  // completes the last
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (producer > 0) waitpid(producer, nullptr, 0);
  std::printf("{\"tasks\": %zu, \"seconds\": %.4f, \"per_second\": %.0f}\n", tasks, seconds,
              static_cast<double>(tasks) / seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string mode = argc > 1 ? argv[1] : "", broker;
  std::size_t tasks = 20'000, batch = 128;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--broker") broker = argv[i + 1];
    if (flag == "--tasks") tasks = std::strtoul(argv[i + 1], nullptr, 10);
    if (flag == "--batch") batch = std::strtoul(argv[i + 1], nullptr, 10);
  }
  if (mode != "drain" && mode != "steady") {
    std::fprintf(stderr, "raw_bench: expected drain or steady, got '%s'\n", mode.c_str());
    return 2;
  }
  try {
    return run(mode, broker, tasks, batch);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "raw_bench: %s\n", error.what());
    return 1;
  }
}
