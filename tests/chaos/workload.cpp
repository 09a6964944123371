#include "chaos/workload.hpp"

#include <chrono>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

namespace errand::chaos {

namespace {

constexpr Milliseconds kRetryWait{30};
constexpr Milliseconds kEta{400};
constexpr std::int64_t kSlowMs = 500;  // longer than a third of the lease: it is renewed meanwhile

constexpr Task<std::int64_t(std::int64_t)> plain{"chaos.plain", {"x"}};
constexpr Task<std::int64_t(std::int64_t)> tracked{"chaos.tracked", {"x"}};
constexpr Task<std::int64_t(std::int64_t)> slow{"chaos.slow", {"ms"}};
constexpr Task<void()> fails{"chaos.fails", {}};
constexpr Task<std::int64_t(std::int64_t)> retries{"chaos.retries", {"times"}};
constexpr Task<void()> gives_up{"chaos.gives_up", {}};
constexpr Task<void()> rejects{"chaos.rejects", {}};
constexpr Task<std::int64_t(std::int64_t)> step{"chaos.step", {"before"}};
constexpr Task<std::int64_t(std::vector<std::int64_t>)> body{"chaos.body", {"results"}};

// Books the attempt around its body.
template <class F>
auto booked(Ledger& ledger, F function) {
  return [&ledger, function](TaskContext& task, auto... args) {
    ledger.write(task.id(), task.retries(), Step::begin);
    try {
      if constexpr (std::is_void_v<decltype(function(task, args...))>) {
        function(task, args...);
        ledger.write(task.id(), task.retries(), Step::done);
      } else {
        auto result = function(task, args...);
        ledger.write(task.id(), task.retries(), Step::done);
        return result;
      }
    } catch (...) {
      ledger.write(task.id(), task.retries(), Step::thrown);
      throw;
    }
  };
}

Value signature(const std::string& id, std::string_view task, Array args) {
  return Value::object({{"task", std::string(task)},
                        {"args", Value(std::move(args))},
                        {"kwargs", Value(Object{})},
                        {"options", Value::object({{"task_id", id}, {"queue", std::string(kQueue)}})},
                        {"subtask_type", Value()},
                        {"immutable", false}});
}

class Maker {
 public:
  explicit Maker(std::string run) : run_(std::move(run)) {}

  Workload take() { return std::move(out_); }

  std::string id(const std::string& rest) const { return run_ + "." + rest; }

  void call(const std::string& id, Signature call, Expected expected = {}) {
    out_.calls.push_back(std::move(call).with_id(id).on(std::string(kQueue)));
    out_.expected[id] = std::move(expected);
    out_.call_of[id] = id;
  }
  void follows(const std::string& id, const std::string& call, Expected expected) {
    out_.expected[id] = std::move(expected);
    out_.call_of[id] = call;
  }

  void chain(const std::string& name, bool breaks) {
    const std::string first = id(name + ".0"), second = id(name + ".1"), third = id(name + ".2");
    Signature middle = breaks ? Signature(fails()).as_immutable() : step.partial();
    call(first, Signature(plain(1))
                    .then(std::move(middle).with_id(second).on(std::string(kQueue)))
                    .then(step.partial().with_id(third).on(std::string(kQueue))));
    follows(second, first, {.end = breaks ? End::failure : End::success, .after = {first}});
    follows(third, first, {.end = breaks ? End::failure : End::success, .after = {second}, .runs = !breaks});
  }

  // A chord is what a callback starts: the native client has no call for one.
  void chord(const std::string& name, bool breaks) {
    const std::string start = id(name + ".start"), last = id(name + ".body");
    Array header;
    Expected end{.end = breaks ? End::failure : End::success, .runs = !breaks};
    for (int i = 0; i < 3; ++i) {
      const std::string member = id(name + "." + std::to_string(i));
      const bool bad = breaks && i == 1;
      Value one = signature(member, bad ? fails.name() : plain.name(), bad ? Array{} : Array{Value(i)});
      one.as_object().set("immutable", true);
      header.push_back(std::move(one));
      follows(member, start, {.end = bad ? End::failure : End::success, .after = {start}});
      end.after.push_back(member);
    }
    Object kwargs{{"header", Value(std::move(header))}, {"body", signature(last, body.name(), {})}};
    Signature chord("celery.chord", {}, std::move(kwargs));
    follows(last, start, std::move(end));
    call(start, Signature(plain(0)).linked(std::move(chord).as_immutable()));
  }

 private:
  std::string run_;
  Workload out_;
};

}  // namespace

Workload make_workload(const std::string& run, std::size_t plain_tasks) {
  Maker make(run);
  for (std::size_t i = 0; i < plain_tasks; ++i) {
    make.call(make.id("plain." + std::to_string(i)), plain(static_cast<std::int64_t>(i)));
  }
  make.call(make.id("tracked"), tracked(1));
  make.call(make.id("slow"), slow(kSlowMs));
  make.call(make.id("fails"), fails(), {.end = End::failure});
  const std::int64_t wait = Microseconds(kRetryWait).count();
  make.call(make.id("retries"), retries(2), {.attempts = 3, .retry_wait_us = wait});
  make.call(make.id("gives_up"), gives_up(), {.end = End::failure, .attempts = 3, .retry_wait_us = wait});
  make.call(make.id("rejects"), rejects(), {.end = End::dead, .reason = "REJECTED"});
  make.call(make.id("unknown"), Signature("chaos.nobody_knows", {Value("kept as it is")}),
            {.end = End::dead, .runs = false, .reason = "UNKNOWN_TASK"});
  const std::int64_t due = wall_us() + Microseconds(kEta).count();
  make.call(make.id("eta"), Signature(plain(7)).eta(TimePoint{Microseconds{due}}), {.not_before_us = due});
  make.chain("chain", false);
  make.chain("broken", true);
  make.chord("chord", false);
  make.chord("sad", true);
  return make.take();
}

void add_tasks(Registry& registry, Ledger& ledger) {
  registry.add(plain, booked(ledger, [](TaskContext&, std::int64_t x) { return x; }));
  registry.add(tracked, booked(ledger, [](TaskContext&, std::int64_t x) { return x; }), {.track_started = true});
  registry.add(slow, booked(ledger, [](TaskContext&, std::int64_t ms) {
                 std::this_thread::sleep_for(Milliseconds{ms});  // the work itself
                 return ms;
               }));
  registry.add(fails, booked(ledger, [](TaskContext&) { throw std::invalid_argument("as it should"); }));
  registry.add(retries, booked(ledger, [](TaskContext& task, std::int64_t times) -> std::int64_t {
                 if (task.retries() < times) throw Retry("not yet").in(kRetryWait).at_most(10);
                 return times;
               }));
  registry.add(gives_up, booked(ledger, [](TaskContext&) { throw std::runtime_error("never"); }),
               {.retry = RetryPolicy::fixed(kRetryWait, 2)});
  registry.add(rejects, booked(ledger, [](TaskContext&) { throw Reject("not for me"); }));
  registry.add(step, booked(ledger, [](TaskContext&, std::int64_t before) { return before + 1; }));
  registry.add(body, booked(ledger, [](TaskContext&, const std::vector<std::int64_t>& results) {
                 return static_cast<std::int64_t>(results.size());
               }));
}

}  // namespace errand::chaos
