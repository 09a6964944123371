// A worker whose tasks write down what happens to them, each line with O_APPEND into a file that no part of Errand
// knows:
//
//   begin|end <what> <task id> <retries> <pid> <microseconds since 1970>
//
// What a test believes about executions it reads there, never in Errand's own counts.
#include <errand/errand.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using errand::Task;
using errand::TaskContext;

namespace {

constexpr Task<std::string(std::string, std::string, double)> note{"ledger.note", {"file", "what", "seconds"}};
constexpr Task<std::string(std::string, std::string, double)> early{"ledger.early", {"file", "what", "seconds"}};
constexpr Task<std::string(std::string, std::string, double)> polite{"ledger.polite", {"file", "what", "seconds"}};
constexpr Task<std::string(std::string, std::string, double)> pressed{"ledger.pressed", {"file", "what", "seconds"}};
constexpr Task<std::string(std::string, std::string, std::string)> until{"ledger.until", {"file", "what", "flag"}};
constexpr Task<std::string(std::string, std::string, std::int64_t, double)> retry{"ledger.retry",
                                                                                  {"file", "what", "times", "wait"}};
constexpr Task<std::string(std::string, std::string, double)> then{"ledger.then", {"file", "what", "seconds"}};
constexpr Task<std::int64_t(std::string, std::string, std::int64_t, double)> fan{"ledger.fan",
                                                                                 {"file", "task", "count", "seconds"}};
constexpr Task<std::string(std::string, std::string)> provider{"ledger.provider", {"file", "what"}};

void write_down(const std::string& file, std::string_view event, const std::string& what, const TaskContext& task) {
  const auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch());
  const std::string line = std::string(event) + " " + what + " " + task.id() + " " + std::to_string(task.retries()) +
                           " " + std::to_string(getpid()) + " " + std::to_string(now.count()) + "\n";
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    throw std::runtime_error("the ledger " + file + " cannot be written");
  }
  close(fd);
}

template <class Look>
std::string work(TaskContext& task, const std::string& file, const std::string& what, double seconds, Look look) {
  write_down(file, "begin", what, task);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    look();
    std::this_thread::sleep_for(2ms);  // the work itself
  }
  write_down(file, "end", what, task);
  return what;
}

void register_tasks(errand::Registry& registry) {
  const auto plain = [](TaskContext& task, std::string file, std::string what, double seconds) {
    return work(task, file, what, seconds, [] {});
  };
  registry.add(note, plain);
  registry.add(early, plain, {.acks_late = false});
  registry.add(polite, [](TaskContext& task, std::string file, std::string what, double seconds) {
    return work(task, file, what, seconds, [&] { task.check_cancelled(); });
  });
  // Stops for its soft limit, and not for a request.
  registry.add(pressed, [](TaskContext& task, std::string file, std::string what, double seconds) {
    return work(task, file, what, seconds, [&] {
      try {
        task.check_cancelled();
      } catch (const errand::SoftTimeLimitExceeded&) {
        throw;
      } catch (const errand::Cancelled&) {
        // It does not want to.
      }
    });
  });
  registry.add(until, [](TaskContext& task, std::string file, std::string what, std::string flag) {
    write_down(file, "begin", what, task);
    while (access(flag.c_str(), F_OK) != 0) std::this_thread::sleep_for(2ms);  // the work itself
    write_down(file, "end", what, task);
    return what;
  });
  registry.add(
      retry, [](TaskContext& task, std::string file, std::string what, std::int64_t times, double wait) -> std::string {
        write_down(file, "begin", what, task);
        if (task.retries() < times) {
          throw errand::Retry("not yet")
              .in(std::chrono::milliseconds(static_cast<std::int64_t>(wait * 1000)))
              .at_most(100);
        }
        write_down(file, "end", what, task);
        return what;
      });
  registry.add(then, [](TaskContext& task, std::string file, std::string what, double seconds) {
    std::string done = work(task, file, what, seconds, [] {});
    task.send(note(file, what + "-next", 0.0).on("ledger"));
    return done;
  });
  registry.add(fan, [](TaskContext& task, std::string file, std::string name, std::int64_t count, double seconds) {
    for (std::int64_t i = 0; i < count; ++i) {
      errand::Array arguments{errand::Value(file), errand::Value(name + std::to_string(i))};
      if (name == "retry") arguments.emplace_back(1);  // once
      arguments.emplace_back(seconds);
      errand::Signature one("ledger." + name, std::move(arguments));
      task.send(std::move(one).on("ledger"));
    }
    return count;
  });
  // For ever, until it no longer matters: that moment comes from outside, in seconds since 1970.
  const char* no_later = std::getenv("LEDGER_UNTIL");
  const errand::TimePoint until_then =
      errand::from_unix_seconds(no_later == nullptr ? 4e9 : std::strtod(no_later, nullptr));
  registry.add(provider,
               [](TaskContext& task, std::string file, std::string what) -> std::string {
                 write_down(file, "begin", what, task);
                 throw std::runtime_error("the provider is away");
               },
               {.retry = errand::RetryPolicy::fixed(200ms, std::nullopt).until_time(until_then)});
}

}  // namespace

int main(int argc, char** argv) {
  errand::Registry registry;
  register_tasks(registry);
  return errand::main(argc, argv, registry);
}
