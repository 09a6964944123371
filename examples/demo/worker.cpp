// A worker binary of one's own: a registry, some functions, and errand::main, which brings every command of the
// `errand` program. Try `build/release/examples/demo_worker --help`.
#include "tasks.hpp"

#include <errand/main.hpp>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

using namespace std::chrono_literals;

namespace {

std::string fetch_quote(errand::TaskContext& task, std::string symbol) {
  if (task.retries() < 2) {
    throw errand::Retry("the exchange does not answer").in(300ms);
  }
  return symbol + " 42.00 after " + std::to_string(task.retries()) + " retries";
}

std::int64_t import_rows(errand::TaskContext& task, std::int64_t rows) {
  constexpr std::int64_t kSteps = 5;
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    task.check_cancelled();
    std::this_thread::sleep_for(200ms);  // the work itself
    task.progress(rows * step / kSteps, rows);
  }
  return rows;
}

std::string charge_card(std::string card, std::int64_t cents) {
  if (cents <= 0) {
    throw errand::TaskError("ValueError", "expected an amount above zero, got " + std::to_string(cents));
  }
  return "charged " + std::to_string(cents) + " to " + card;
}

}  // namespace

int main(int argc, char** argv) {
  errand::Registry registry;
  registry.add(demo::add, [](std::int64_t a, std::int64_t b) { return a + b; });
  registry.add(demo::fetch_quote, fetch_quote, {.description = "a quote from an exchange that fails twice first"});
  registry.add(demo::import_rows, import_rows, {.description = "reports progress while it works"});
  registry.add(demo::charge_card, charge_card, {.description = "fails for an amount of zero or less"});
  registry.add(demo::crash, [] { std::raise(SIGSEGV); }, {.description = "kills its own process"});
  return errand::main(argc, argv, registry);
}
