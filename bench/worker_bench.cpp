// A whole worker under measurement: no-op tasks with results, from the first fetch to the last acknowledgement. One
// run, one line of JSON; bench/compare.py puts many runs beside those of others.
//
//   worker_bench fill    --broker redis://127.0.0.1:6379/9 --tasks 100000                 sends them
//   worker_bench drain   --broker redis://127.0.0.1:6379/9 --tasks 100000 --pool prefork -c 2
//   worker_bench steady  --broker sqlite:////var/tmp/bench.db --tasks 100000 --pool threads -c 2
//   worker_bench latency --broker redis://127.0.0.1:6379/9 --tasks 500
//   worker_bench park    --broker sqlite:////var/tmp/bench.db --tasks 1000000             due in a day
//
// drain: the queue holds the tasks already; timed from when the worker consumes until it has acknowledged the last.
// steady: another process sends while the worker runs; timed from the first send. latency: one task at a time to an
// idle worker, in microseconds from before send() to the start of the task, and to its result in the sender's hands.
// What else is in the database or file is not touched.
#include "core/log.hpp"

#include <errand/errand.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace {

constexpr errand::Task<std::int64_t(std::int64_t)> noop{"bench.noop", {"x"}};
constexpr errand::Task<std::int64_t()> started_at{"bench.started_at", {}};  // the monotonic clock, in ns
constexpr std::size_t kPerSend = 500;

struct Arguments {
  std::string mode, broker = "sqlite:////var/tmp/errand-bench.db", pool = "prefork";
  std::size_t tasks = 20'000, concurrency = 2;
};

double seconds_since(Steady::time_point begin) { return std::chrono::duration<double>(Steady::now() - begin).count(); }

void fill(const Arguments& arguments, std::optional<errand::TimePoint> eta) {
  errand::Client client({.broker_url = arguments.broker});
  for (std::size_t sent = 0; sent < arguments.tasks;) {
    std::vector<errand::Signature> batch;
    for (; batch.size() < kPerSend && sent < arguments.tasks; ++sent) {
      batch.push_back(noop(static_cast<std::int64_t>(sent)).on("bench"));
      if (eta) batch.back().options.eta = eta;
    }
    client.send_many(std::move(batch));
  }
}

// The worker until it has settled that many; `begun` is called when it consumes.
void work(const Arguments& arguments, const std::function<void()>& begun) {
  errand::Registry registry;
  registry.add(noop, [](std::int64_t x) { return x; });
  registry.add(started_at, [] { return std::int64_t{Steady::now().time_since_epoch().count()}; });
  errand::WorkerOptions options;
  options.broker_url = arguments.broker;
  options.pool = arguments.pool;
  options.concurrency = arguments.concurrency;
  options.queues = {errand::QueueSpec{"bench"}};
  options.result_extended = false;  // Celery's default
  options.control = false;
  options.stop_after = arguments.tasks;
  errand::Worker worker(options, registry);
  worker.on_ready = begun;
  worker.run();
}

// In a process of its own, as a producer is in life.
template <class F>
pid_t apart(F&& run) {
  const pid_t child = fork();
  if (child != 0) return child;
  try {
    run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "worker_bench: %s\n", error.what());
    _exit(1);
  }
  _exit(0);
}

bool succeeded(pid_t child) {
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

double percentile(std::vector<double>& sorted, std::size_t percent) {
  return sorted[std::min(sorted.size() - 1, sorted.size() * percent / 100)];
}

void print_rate(const Arguments& arguments, double seconds) {
  const auto tasks = static_cast<double>(arguments.tasks);
  std::printf("{\"tasks\": %zu, \"seconds\": %.4f, \"per_second\": %.0f}\n", arguments.tasks, seconds, tasks / seconds);
}

int latency(const Arguments& arguments) {
  const pid_t sender = apart([&] {
    errand::Client client({.broker_url = arguments.broker});
    std::vector<double> starts, results;
    for (std::size_t i = 0; i < arguments.tasks; ++i) {
      usleep(2'000);  // the worker is back in its wait, as on an idle machine
      const auto before = Steady::now();
      const auto began = client.send(started_at().on("bench")).get(std::chrono::nanoseconds(20s));
      if (i < arguments.tasks / 10) continue;  // connections and caches warm up
      results.push_back(seconds_since(before) * 1e6);
      starts.push_back(static_cast<double>(began - before.time_since_epoch().count()) / 1e3);
    }
    std::sort(starts.begin(), starts.end());
    std::sort(results.begin(), results.end());
    std::printf("{\"start_p50_us\": %.0f, \"start_p99_us\": %.0f, \"result_p50_us\": %.0f, \"result_p99_us\": %.0f}\n",
                percentile(starts, 50), percentile(starts, 99), percentile(results, 50), percentile(results, 99));
    std::fflush(stdout);
  });
  work(arguments, [] {});
  return succeeded(sender) ? 0 : 1;
}

int run(const Arguments& arguments) {
  Steady::time_point begin = Steady::now();
  if (arguments.mode == "fill" || arguments.mode == "park") {
    const errand::TimePoint tomorrow =
        std::chrono::time_point_cast<errand::Microseconds>(std::chrono::system_clock::now()) + 24h;
    fill(arguments, arguments.mode == "park" ? std::optional(tomorrow) : std::nullopt);
  } else if (arguments.mode == "drain") {
    work(arguments, [&] { begin = Steady::now(); });
  } else if (arguments.mode == "steady") {
    // The producer waits for the worker to be there: what is timed is both at once.
    int gate[2];
    if (pipe(gate) != 0) return 1;
    const pid_t producer = apart([&] {
      char go = 0;
      close(gate[1]);
      if (read(gate[0], &go, 1) == 1) fill(arguments, std::nullopt);
    });
    work(arguments, [&] {
      begin = Steady::now();
      if (write(gate[1], "g", 1) != 1) std::abort();
    });
    if (!succeeded(producer)) return 1;
  } else if (arguments.mode == "latency") {
    return latency(arguments);
  } else {
    std::fprintf(stderr, "worker_bench: expected fill, drain, steady, latency or park, got '%s'\n",
                 arguments.mode.c_str());
    return 2;
  }
  print_rate(arguments, seconds_since(begin));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (argc > 1) arguments.mode = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--broker") arguments.broker = argv[i + 1];
    if (flag == "--pool") arguments.pool = argv[i + 1];
    if (flag == "--tasks") arguments.tasks = std::strtoul(argv[i + 1], nullptr, 10);
    if (flag == "-c") arguments.concurrency = std::strtoul(argv[i + 1], nullptr, 10);
  }
  errand::log::configure({.level = errand::log::Level::warning});  // a line per task is not what is measured
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "worker_bench: %s\n", error.what());
    return 1;
  }
}
