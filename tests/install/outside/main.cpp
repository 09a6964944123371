// The smallest program that uses all of the installed library: it sends a task to a SQLite file in its folder, runs it
// with a worker of its own, and reads the answer. Compiled by tests/install, never by this repository's build.
#include <errand/client.hpp>
#include <errand/registry.hpp>
#include <errand/task.hpp>
#include <errand/worker.hpp>

#include <chrono>
#include <iostream>

inline constexpr errand::Task<int(int, int)> add{"outside.add", {"a", "b"}};

int main() {
  const std::string broker = "sqlite:///outside.db";
  errand::Client client({.broker_url = broker});
  auto result = client.send(add(40, 2));

  errand::Registry registry;
  registry.add(add, [](int a, int b) { return a + b; });
  errand::WorkerOptions options;
  options.broker_url = broker;
  options.pool = "solo";
  options.stop_after = 1;
  errand::Worker worker(options, registry);
  if (const int code = worker.run(); code != 0) {
    std::cerr << "the worker ended with " << code << "\n";
    return code;
  }
  std::cout << "outside: outside.add(40, 2) = " << result.get(std::chrono::seconds(10)) << "\n";
}
