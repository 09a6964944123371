#pragma once
// A bench for the engine: messages in, effects out as one line of text, time moved by hand.

#include "worker/engine.hpp"

#include <string>
#include <variant>

namespace errand::worker::testing {

using namespace std::chrono_literals;

class EngineBench {
 public:
  explicit EngineBench(EngineOptions options = {}) : options_(std::move(options)) {
    options_.node_name = "w1@test";
    add("noop", {});
  }

  void add(std::string name, TaskOptions task_options) {
    TaskDefinition definition;
    definition.name = std::move(name);
    definition.options = std::move(task_options);
    definition.schema.open = true;
    definition.invoke = [](TaskContext&, const Array&, const Object&) { return Value(); };
    registry_.add(std::move(definition));
  }

  Engine& engine() {
    if (!engine_) engine_.emplace(options_, registry_);
    return *engine_;
  }

  Arrival message(std::string id, std::string task = "noop") {
    Arrival arrival;
    arrival.id = std::move(id);
    arrival.task = std::move(task);
    arrival.receipt = Receipt{arrival.id, ++token_, "celery"};
    arrival.route = Route{"", "celery"};
    Message text;
    text.headers = Object{{"task", arrival.task}, {"id", arrival.id}, {"retries", 0}, {"x-trace", "kept"}};
    text.body = "[[], {}, {}]";
    arrival.message = std::make_shared<const Message>(std::move(text));
    return arrival;
  }

  std::string deliver(Arrival arrival) {
    Delivered delivered;
    delivered.arrivals.push_back(std::move(arrival));
    return step(std::move(delivered));
  }
  std::string deliver(const std::string& id) { return deliver(message(id)); }

  /// Gives capacity and returns what starts.
  std::string capacity(std::size_t free) { return step(Capacity{free}); }

  /// Delivers and starts one message; returns its run.
  std::uint64_t running(const std::string& id, const std::string& task = "noop") { return running(message(id, task)); }
  std::uint64_t running(Arrival arrival) {
    deliver(std::move(arrival));
    capacity(1);
    const std::uint64_t run = last_run;
    step(Started{run, 42});
    return run;
  }

  std::string finish(std::uint64_t run, Outcome::Kind kind) {
    Outcome outcome;
    outcome.run = run;
    outcome.kind = kind;
    return finish(std::move(outcome));
  }
  std::string finish(Outcome outcome) { return step(Finished{std::move(outcome)}); }
  std::string committed(std::uint64_t run) { return step(Committed{{run}}); }
  std::string tick(std::chrono::nanoseconds later = {}) {
    advance(later);
    return step(Tick{});
  }
  void advance(std::chrono::nanoseconds by) {
    now.wall += std::chrono::duration_cast<Microseconds>(by);
    now.steady += std::chrono::duration_cast<SteadyPoint::duration>(by);
  }

  std::string step(Input input) {
    effects.clear();
    engine().step(std::move(input), now, effects);
    std::string text;
    for (const Effect& effect : effects) {
      const std::string one = describe(effect);
      if (one.empty()) continue;
      if (!text.empty()) text += "; ";
      text += one;
    }
    return text;
  }

  const CommitEntry& entry() const {
    for (const Effect& effect : effects) {
      if (const auto* found = std::get_if<CommitEntry>(&effect)) return *found;
    }
    throw std::logic_error("no commit among the effects");
  }

  Now now{TimePoint{std::chrono::seconds{1'800'000'000}}, SteadyPoint{1h}};
  std::vector<Effect> effects;
  std::uint64_t last_run = 0;

 private:
  std::string describe(const Effect& effect) {
    if (const auto* run = std::get_if<Run>(&effect)) {
      last_run = run->execution.run;
      return (run->execution.finish_failure ? "hooks " : "run ") + run->execution.id;
    }
    if (const auto* entry = std::get_if<CommitEntry>(&effect)) {
      std::string text = "commit";
      if (!entry->follow_ups.empty()) text += " +" + std::to_string(entry->follow_ups.size());
      if (entry->result) text += " " + entry->result->state;
      if (entry->settlement) {
        switch (entry->settlement->kind) {
          case Settlement::Kind::ack:
            text += " ack";
            break;
          case Settlement::Kind::requeue:
            text += " requeue";
            break;
          case Settlement::Kind::park:
            text += " park";
            break;
          case Settlement::Kind::dead_letter:
            text += " dead:" + entry->settlement->reason;
            break;
        }
      }
      return text;
    }
    if (const auto* extend = std::get_if<Extend>(&effect)) return "extend " + std::to_string(extend->receipts.size());
    if (const auto* kill = std::get_if<Kill>(&effect)) {
      return kill->how == Cancel::kill ? "kill" : kill->how == Cancel::soft ? "soft" : "ask";
    }
    if (std::holds_alternative<Reclaim>(effect)) return "reclaim";
    if (const auto* halt = std::get_if<Halt>(&effect)) return "halt " + std::to_string(halt->exit_code);
    return {};
  }

  EngineOptions options_;
  Registry registry_;
  std::optional<Engine> engine_;
  std::uint64_t token_ = 0;
};

}  // namespace errand::worker::testing
