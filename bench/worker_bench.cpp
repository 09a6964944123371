// How fast a whole worker is: no-op tasks with results, prefilled, from the first fetch to the last acknowledgement.
//
//   ./dev build bench && build/bench/bench/worker_bench --broker redis://127.0.0.1:6379/9 --tasks 100000 --pool prefork -c 2
//   (also --broker sqlite:////tmp/bench.db; the database or file is emptied first only by you)
//
// Prints one line: tasks per second, and the time a task takes from send to result when the worker is idle (p50, p99).
#include <errand/errand.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <unistd.h>
#include <sys/wait.h>

using namespace std::chrono_literals;

namespace {
constexpr errand::Task<std::int64_t(std::int64_t)> noop{"bench.noop", {"x"}};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}
}  // namespace

int main(int argc, char** argv) {
  std::string broker = "sqlite:////tmp/errand-bench.db", pool = "prefork";
  std::size_t tasks = 20'000, concurrency = 2, latency_rounds = 200;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--broker") broker = argv[i + 1];
    else if (flag == "--pool") pool = argv[i + 1];
    else if (flag == "--tasks") tasks = std::strtoul(argv[i + 1], nullptr, 10);
    else if (flag == "-c") concurrency = std::strtoul(argv[i + 1], nullptr, 10);
  }
  errand::Registry registry;
  registry.add(noop, [](std::int64_t x) { return x; });
  // The producer is a process of its own, as it is in life.
  const auto produce = [&] {
    errand::Client client({.broker_url = broker});
    for (std::size_t sent = 0; sent < tasks;) {
      std::vector<errand::Signature> batch;
      for (; batch.size() < 500 && sent < tasks; ++sent) batch.push_back(noop(static_cast<std::int64_t>(sent)).on("bench"));
      client.send_many(std::move(batch));
    }
  };
  const auto fill = std::chrono::steady_clock::now();
  const pid_t producer = fork();
  if (producer == 0) {
    produce();
    _exit(0);
  }
  waitpid(producer, nullptr, 0);
  const double filled = seconds_since(fill);

  errand::WorkerOptions options;
  options.broker_url = broker;
  options.pool = pool;
  options.concurrency = concurrency;
  options.queues = {errand::QueueSpec{"bench"}};
  options.result_extended = false;
  options.control = false;
  options.stop_after = tasks;
  std::chrono::steady_clock::time_point begin;
  {
    errand::Worker worker(options, registry);
    worker.on_ready = [&] { begin = std::chrono::steady_clock::now(); };
    worker.run();
  }
  const double ran = seconds_since(begin);

  // Idle latency: one at a time.
  options.stop_after = latency_rounds;
  const pid_t sender = fork();
  if (sender == 0) {
    errand::Client client({.broker_url = broker});
    std::vector<double> times;
    for (std::size_t i = 0; i < latency_rounds; ++i) {
      const auto one = std::chrono::steady_clock::now();
      client.send(noop(1).on("bench")).get(std::chrono::nanoseconds(20s));
      times.push_back(seconds_since(one) * 1e3);
    }
    std::sort(times.begin(), times.end());
    std::printf("idle send -> result: p50 %.3f ms, p99 %.3f ms\n", times[times.size() / 2], times[times.size() * 99 / 100]);
    std::fflush(stdout);
    _exit(0);
  }
  {
    errand::Worker worker(options, registry);
    worker.run();
  }
  waitpid(sender, nullptr, 0);
  std::printf("%s %s -c %zu: sent %.0f/s, ran %.0f/s (%zu tasks)\n", broker.c_str(), pool.c_str(), concurrency,
              static_cast<double>(tasks) / filled, static_cast<double>(tasks) / ran, tasks);
  return 0;
}
