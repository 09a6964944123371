// A worker with the tasks that the interop and end-to-end tests call: one per behaviour that crosses the border.
#include "requirement_tasks.hpp"
#include "support/task_zoo.hpp"

#include <errand/errand.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using errand::Task;
using errand::TaskContext;
using errand::Value;

namespace {

constexpr Task<std::int64_t(std::int64_t, std::int64_t)> add{"cpp.add", {"x", "y"}};
constexpr Task<Value(Value)> echo{"cpp.echo", {"value"}};
constexpr Task<errand::Bytes(errand::Bytes)> bytes{"cpp.bytes", {"data"}};
constexpr Task<void(std::string)> fail{"cpp.fail", {"text"}};
constexpr Task<void(std::string, std::string, std::string)> fail_as{"cpp.fail_as", {"type", "message", "module"}};
constexpr Task<std::int64_t(std::int64_t)> flaky{"cpp.flaky", {"times"}};
constexpr Task<void()> always_retry{"cpp.always_retry", {}};
constexpr Task<std::string(double)> slow{"cpp.slow", {"seconds"}};
constexpr Task<std::string(double)> stubborn{"cpp.stubborn", {"seconds"}};
constexpr Task<std::int64_t(std::int64_t)> ignored{"cpp.ignored", {"x"}};
constexpr Task<Value()> request{"cpp.request", {}};
constexpr Task<void()> crash{"cpp.crash", {}};
constexpr Task<std::int64_t(std::int64_t)> progress{"cpp.progress", {"steps"}};
constexpr Task<std::string(std::string)> call_python{"cpp.call_python", {"word"}};
constexpr Task<void(std::string, bool)> reject{"cpp.reject", {"reason", "requeue"}};
constexpr Task<std::string()> who{"both.who", {}};
constexpr Task<std::string(std::string, errand::Secret<std::string>)> secret{"cpp.secret", {"user", "api_key"}};

Value text_or_null(const std::string& text) { return text.empty() ? Value() : Value(text); }

Value describe(TaskContext& task) {
  const TaskContext::Request& r = task.request();
  return Value::object({{"id", r.id},
                        {"task", r.task},
                        {"queue", r.queue},
                        {"root_id", text_or_null(r.root_id)},
                        {"parent_id", text_or_null(r.parent_id)},
                        {"group", text_or_null(r.group_id)},
                        {"retries", static_cast<long long>(r.retries)},
                        {"priority", r.priority},
                        {"correlation_id", text_or_null(r.correlation_id)},
                        {"headers", Value(r.message->headers)},
                        {"properties", Value(r.message->properties)}});
}

void register_tasks(errand::Registry& registry) {
  registry.add(add, [](std::int64_t x, std::int64_t y) { return x + y; });
  registry.add(echo, [](Value value) { return value; });
  registry.add(bytes, [](errand::Bytes data) { return data; });
  registry.add(fail, [](std::string text) { throw std::invalid_argument(text); });
  registry.add(fail_as, [](std::string type, std::string message, std::string module) {
    throw errand::TaskError(type, message, module);
  });
  registry.add(flaky, [](TaskContext& task, std::int64_t times) -> std::int64_t {
    if (task.retries() < times) throw errand::Retry("not yet").in(100ms).at_most(10);
    return task.retries();
  });
  registry.add(always_retry, [](TaskContext&) { throw std::runtime_error("provider is away"); },
               {.retry = errand::RetryPolicy::fixed(50ms, 2)});
  registry.add(slow, [](TaskContext& task, double seconds) -> std::string {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) {
      task.check_cancelled();
      std::this_thread::sleep_for(5ms);  // the work itself
    }
    return "done";
  });
  registry.add(stubborn, [](double seconds) -> std::string {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));  // the work itself
    return "done";
  });
  registry.add(ignored, [](std::int64_t x) { return x; }, {.ignore_result = true});
  registry.add(request, [](TaskContext& task) { return describe(task); });
  registry.add(crash, [] { std::raise(SIGSEGV); });
  registry.add(progress, [](TaskContext& task, std::int64_t steps) {
    for (std::int64_t i = 1; i <= steps; ++i) task.progress(i, steps);
    return steps;
  });
  registry.add(call_python, [](TaskContext& task, std::string word) {
    return task.send(errand::Signature("py.echo", {Value(word)}).on("python"));
  });
  registry.add(reject, [](std::string reason, bool requeue) { throw errand::Reject(reason, requeue); });
  registry.add(who, [] { return std::string("native"); });
  registry.add(secret, [](std::string user, errand::Secret<std::string> key) {
    return user + ":" + std::to_string(key.reveal().size());
  });
}

}  // namespace

int main(int argc, char** argv) {
  errand::Registry registry;
  register_tasks(registry);
  register_requirement_tasks(registry);
  zoo::add_to(registry);
  return errand::main(argc, argv, registry);
}
