#include "pools/runner.hpp"

#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "core/uuid.hpp"
#include "pools/builtin.hpp"
#include "protocol/body.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/exception.hpp"
#include "protocol/follow_ups.hpp"
#include "protocol/result_json.hpp"
#include "protocol/signature_json.hpp"
#include "protocol/task_message.hpp"
#include "tasks/limit_text.hpp"

#include <sys/resource.h>
#include <algorithm>

namespace errand::pools {

void RunControl::ask_to_stop(std::string_view reason) {
  if (stop_.load(std::memory_order_acquire)) return;
  reason_ = std::string(reason);
  stop_.store(true, std::memory_order_release);
}

std::string_view RunControl::stop_reason() const noexcept {
  return stop_.load(std::memory_order_acquire) ? std::string_view(reason_) : std::string_view{};
}

void RunControl::reset() {
  soft_.store(false, std::memory_order_release);
  stop_.store(false, std::memory_order_release);
}

namespace {

constexpr std::size_t kMaxFollowUps = 10'000;  // sent by one attempt

const SystemClock kMachine;

std::int64_t peak_rss_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// One attempt: the body decoded once, the context the task sees, and what comes of it.
class Attempt final : public ContextHost {
 public:
  Attempt(const Registry& registry, const Execution& execution, const RunnerOptions& options, RunControl& control,
          const RunnerHost& host)
      : registry_(registry), execution_(execution), options_(options), control_(control), host_(host) {
    outcome_.run = execution.run;
  }

  Outcome run() {
    const SteadyPoint begin = clock().steady();
    try {
      task_ = protocol::decode_task(*execution_.message);
      body_.emplace(*execution_.message);
      // All of the body, before the task runs: one whose callbacks cannot be read must not run and then fail.
      args_ = body_->args();
      kwargs_ = body_->kwargs();
      embed_ = body_->embed();
      definition_ = registry_.find(execution_.task);
      if (execution_.finish_failure)
        finish_from_outside();
      else
        attempt();
    } catch (const protocol::DecodeFailure& failure) {
      // The headers were fine, the body is not: the task never ran, and the message is kept.
      outcome_.defect_code = failure.reason();
      outcome_.defect_detail = failure.line();
      fail(protocol::ExceptionInfo{"DecodeError", "kombu.exceptions", {Value(failure.line())}});
    } catch (const std::exception& unexpected) {
      fail(protocol::ExceptionInfo{
          "RuntimeError", "builtins", {Value(std::string("the worker failed around the task: ") + unexpected.what())}});
    }
    outcome_.duration = clock().steady() - begin;
    outcome_.peak_rss_kib = peak_rss_kib();
    if (options_.extended_results && embed_) {
      outcome_.args_json = secret_free(body_->args_json(), true);
      outcome_.kwargs_json = secret_free(body_->kwargs_json(), false);
    }
    return std::move(outcome_);
  }

  void progress(std::string_view state, const Value& meta) override {
    host_.progress({execution_.run, std::string(state), to_json(meta, JsonStyle{.typed_bytes = options_.typed_json})});
  }
  void log(std::string_view line) override { host_.log(line); }
  std::string_view stop_reason() const noexcept override { return control_.stop_reason(); }
  bool soft_limit_passed() const noexcept override { return control_.soft_limit_passed(); }

  TaskId send(Signature signature) override {
    if (outcome_.follow_ups.size() >= kMaxFollowUps) {
      throw Error({.kind = ErrorKind::overloaded,
                   .operation = "task.send",
                   .subject = signature.task,
                   .detail = "expected at most 10000 tasks sent by one attempt (limit max_follow_ups), got more"});
    }
    CallOptions& o = signature.options;
    if (o.root_id.empty()) o.root_id = task_.root_id.empty() ? task_.id : task_.root_id;
    if (o.parent_id.empty()) o.parent_id = task_.id;
    const TaskId last = protocol::freeze(signature);
    const TimePoint now = wall_now();
    if (o.countdown && !o.eta) o.eta = now + *o.countdown;
    if (const TaskDefinition* known = registry_.find(signature.task))
      check_call(signature.task, known->schema, signature.args, signature.kwargs);
    Envelope envelope;
    std::string queue = o.queue.empty() ? o.routing_key : o.queue;
    if (queue.empty()) {
      const TaskDefinition* known = registry_.find(signature.task);
      queue = known != nullptr && !known->options.queue.empty() ? known->options.queue : execution_.queue;
    }
    envelope.route = o.exchange.empty() ? Route{"", queue} : Route{o.exchange, o.routing_key};
    envelope.priority = o.priority.value_or(0);
    protocol::SenderInfo sender;
    sender.now = now;
    sender.origin = protocol::sender_origin();
    sender.typed_json = options_.typed_json;
    envelope.message = protocol::encode_task(signature, sender);
    children_.emplace_back(parse_json(protocol::result_tuple(signature.options.task_id)));
    outcome_.follow_ups.push_back(std::move(envelope));
    return last;
  }

 private:
  const Clock& clock() const noexcept { return options_.clock != nullptr ? *options_.clock : kMachine; }
  TimePoint wall_now() const { return clock().now(); }

  TaskContext::Request request() const {
    TaskContext::Request r;
    r.id = task_.id;
    r.task = execution_.task;
    r.queue = execution_.queue;
    r.route = execution_.route;
    r.root_id = task_.root_id;
    r.parent_id = task_.parent_id;
    r.group_id = task_.group;
    r.reply_to = task_.reply_to;
    r.correlation_id = task_.correlation_id;
    r.origin = task_.origin;
    r.hostname = options_.hostname;
    r.retries = execution_.retries;
    r.redelivered = execution_.redelivered;
    r.priority = task_.priority;
    r.eta = task_.eta;
    r.expires = task_.expires;
    r.time_limit = execution_.time_limit;
    r.soft_time_limit = execution_.soft_time_limit;
    r.limits = execution_.limits;
    r.message = execution_.message;
    return r;
  }

  void attempt() {
    TaskContext context(request(), *this);
    try {
      Value result;
      if (definition_ != nullptr) {
        for (const auto& hooks : definition_->hooks) hooks->before(context, args_, kwargs_);
        ERRAND_FAILPOINT("run.in_user_code");
        result = definition_->invoke(context, args_, kwargs_);
      } else {
        result = run_builtin(execution_.task, registry_, context, args_, kwargs_);
      }
      succeed(context, result);
    } catch (const Retry& asked) {
      retry(context, asked, std::current_exception());
    } catch (const Reject& rejected) {
      outcome_.kind = rejected.requeue ? Outcome::Kind::requeue : Outcome::Kind::reject;
      outcome_.error_text = std::string("Reject: ") + rejected.what();
      drop_sends();
    } catch (const Ignore&) {
      outcome_.kind = Outcome::Kind::ignore;
    } catch (const Cancelled& cancelled) {
      outcome_.kind = Outcome::Kind::cancelled;
      outcome_.error_text = std::string("Cancelled: ") + cancelled.what();
      outcome_.result_json = protocol::terminated().to_json();
      drop_sends();
    } catch (...) {
      caught(context, std::current_exception());
    }
    each_hook([&](Hooks& hooks) { hooks.after(context, state_name()); });
  }

  void succeed(TaskContext& context, const Value& result) {
    std::string json;
    std::optional<protocol::ExceptionInfo> unstorable;
    try {
      // Whoever sent bytes reads them, too: only kombu 5.3 and newer, and Errand, write typed values.
      const bool typed = options_.typed_json || (holds_bytes(result) && (holds_bytes(args_) || holds_bytes(kwargs_)));
      json = to_json(result, JsonStyle{.typed_bytes = typed});
    } catch (const Error& error) {
      unstorable = {"EncodeError", "kombu.exceptions", {Value("the result cannot be stored: " + error.detail())}};
    }
    if (json.size() > options_.max_result_bytes) {
      unstorable = {"ResultTooLarge",
                    "errand.exceptions",
                    {Value("expected a result of at most " + std::to_string(options_.max_result_bytes) +
                           " bytes (limit max_result_bytes), got " + std::to_string(json.size()))}};
    }
    if (unstorable) {
      fail(*unstorable);
      const Failure failure = to_failure(*unstorable, nullptr);
      each_hook([&](Hooks& hooks) { hooks.on_failure(context, failure, args_, kwargs_); });
      return;
    }
    if (!embed_->empty()) adopt(protocol::after_success(task_, *embed_, json, follow_up_options()));
    outcome_.kind = Outcome::Kind::success;
    outcome_.result_json = std::move(json);
    if (!children_.empty()) outcome_.children_json = to_json(Value(children_));
    note_chord();
    each_hook([&](Hooks& hooks) { hooks.on_success(context, result); });
  }

  static bool holds_bytes(const Value& value) {
    if (const Array* items = value.if_array()) return holds_bytes(*items);
    if (const Object* members = value.if_object()) return holds_bytes(*members);
    return value.is_bytes();
  }
  static bool holds_bytes(const Array& items) {
    return std::any_of(items.begin(), items.end(), [](const Value& item) { return holds_bytes(item); });
  }
  static bool holds_bytes(const Object& members) {
    return std::any_of(members.begin(), members.end(), [](const auto& member) { return holds_bytes(member.second); });
  }

  static Failure to_failure(const protocol::ExceptionInfo& error, std::exception_ptr exception) {
    const std::string text = error.text();
    Failure failure;
    failure.type = error.type;
    failure.message = text.size() > error.type.size() + 2 ? text.substr(error.type.size() + 2) : std::string();
    failure.module = error.module;
    failure.exception = std::move(exception);
    return failure;
  }

  void retry(TaskContext& context, const Retry& asked, std::exception_ptr exception) {
    static const RetryPolicy kDefault = RetryPolicy::fixed(Milliseconds{180'000}, 3);
    RetryPolicy policy = definition_ == nullptr ? kDefault : definition_->options.retry;
    if (policy.max_retries == 0u) policy = kDefault;  // the task asks although its errors are not retried by themselves
    if (asked.max_retries) policy.max_retries = asked.max_retries;
    if (asked.countdown) {
      policy = RetryPolicy{.base = *asked.countdown,
                           .cap = *asked.countdown,
                           .max_retries = policy.max_retries,
                           .until = policy.until,
                           .queue = policy.queue};
    }
    if (!asked.queue.empty()) policy.queue = asked.queue;
    outcome_.eta = asked.eta;
    const protocol::ExceptionInfo error{"Retry", "celery.exceptions", {Value(std::string(asked.what()))}};
    retry_or_fail(context, policy, error, to_failure(error, std::move(exception)));
  }

  void caught(TaskContext& context, std::exception_ptr exception) {
    protocol::ExceptionInfo error = protocol::describe_exception(exception);
    if (error.type == "MemoryError" && execution_.limits.memory) {
      error.arguments = {Value(error.text().substr(std::min(error.text().size(), error.type.size() + 2)) + " (" +
                               limit_text(Limit::memory, execution_.limits, 0) + ")")};
    }
    Failure failure = to_failure(error, std::move(exception));
    static const RetryPolicy kNone = RetryPolicy::none();
    const RetryPolicy& policy = definition_ == nullptr ? kNone : retry_policy_for(definition_->options, failure);
    retry_or_fail(context, policy, error, std::move(failure));
  }

  void retry_or_fail(TaskContext& context, const RetryPolicy& policy, const protocol::ExceptionInfo& error,
                     Failure failure) {
    const bool tries_left = !policy.max_retries || execution_.retries < *policy.max_retries;
    const double uniform = static_cast<double>(core::random_bits() >> 11) * 0x1.0p-53;
    const Milliseconds wait = policy.wait(execution_.retries, uniform);
    const TimePoint due = outcome_.eta ? *outcome_.eta : wall_now() + wait;
    const bool too_late = policy.until && due > *policy.until;
    if (tries_left && !too_late) {
      outcome_.kind = Outcome::Kind::retry;
      outcome_.wait = wait;
      outcome_.retry_until = policy.until;
      outcome_.retry_queue = policy.queue;
      set_error(error, failure);
      each_hook([&](Hooks& hooks) { hooks.on_retry(context, failure, wait); });
      return;
    }
    protocol::ExceptionInfo final_error = error;
    if (too_late && tries_left) {
      // GN-33: whoever reads the record learns why it was not tried again.
      static constexpr std::string_view kTooLate =
          " (not retried: it expired, the next attempt would begin after `until`)";
      failure.message += kTooLate;
      if (final_error.arguments.empty())
        final_error.arguments.emplace_back(std::string(kTooLate.substr(1)));
      else if (const std::string* text = final_error.arguments.front().if_text())
        final_error.arguments.front() = Value(*text + std::string(kTooLate));
    }
    fail(final_error);
    failure.traceback = outcome_.traceback;
    each_hook([&](Hooks& hooks) { hooks.on_failure(context, failure, args_, kwargs_); });
  }

  void set_error(const protocol::ExceptionInfo& error, const Failure& failure) {
    outcome_.result_json = error.to_json();
    outcome_.error_text = error.text();
    outcome_.error_type = failure.type;
    outcome_.error_message = failure.message;
    outcome_.error_module = failure.module;
    outcome_.traceback =
        "Traceback (most recent call last):\n  Task " + execution_.task + ", in C++\n" + error.text() + "\n";
    outcome_.children_json = to_json(Value(children_));
  }

  // The task's final end in failure: what was sent stays sent, errbacks follow, later chain steps fail with it.
  void fail(const protocol::ExceptionInfo& error) {
    outcome_.kind = Outcome::Kind::failure;
    set_error(error, to_failure(error, nullptr));
    errbacks();
  }

  void errbacks() {
    if (!embed_) return;
    try {
      adopt(protocol::after_failure(task_, *embed_, follow_up_options()));
      for (protocol::WaitingStep& waiting : protocol::waiting_steps(*embed_)) {
        Outcome::NeverRun step{.id = std::move(waiting.id), .group = std::move(waiting.group), .index = waiting.index};
        if (!waiting.chord.is_null()) step.chord_json = to_json(waiting.chord);
        outcome_.never_run.push_back(std::move(step));
      }
      outcome_.children_json = to_json(Value(children_));
      note_chord();
    } catch (const protocol::DecodeFailure& failure) {
      host_.log("the callbacks of this task cannot be read: " + failure.line());
    }
  }

  // The attempt was ended by the worker: hooks and errbacks run here, in a process that lives.
  void finish_from_outside() {
    const Failure& ended = *execution_.finish_failure;
    outcome_.kind = Outcome::Kind::failure;
    outcome_.error_type = ended.type;
    outcome_.error_message = ended.message;
    outcome_.error_module = ended.module;
    errbacks();
    if (definition_ == nullptr) return;
    TaskContext context(request(), *this);
    each_hook([&](Hooks& hooks) { hooks.on_failure(context, ended, args_, kwargs_); });
    each_hook([&](Hooks& hooks) { hooks.after(context, state::failure); });
  }

  // A hook that throws is told about and changes nothing.
  template <class F>
  void each_hook(F&& call) {
    if (definition_ == nullptr) return;
    for (const auto& hooks : definition_->hooks) {
      try {
        call(*hooks);
      } catch (const std::exception& error) {
        host_.log(std::string("a hook failed: ") + error.what());
      } catch (...) {
        host_.log("a hook failed with an unknown error");
      }
    }
  }

  void adopt(protocol::FollowUps next) {
    for (Envelope& envelope : next.envelopes) {
      envelope.asked_by.emplace();  // by the message; the supervisor knows who signed it
      outcome_.follow_ups.push_back(std::move(envelope));
    }
    for (Value& child : next.children) children_.push_back(std::move(child));
    for (protocol::ChordSize& chord : next.chords) outcome_.chord_sizes.push_back({std::move(chord.group), chord.size});
  }

  void drop_sends() {
    outcome_.follow_ups.clear();
    children_.clear();
  }

  void note_chord() {
    if (task_.group.empty()) return;
    if (!embed_->chord.is_null()) outcome_.chord_json = to_json(embed_->chord);
  }

  protocol::FollowUpOptions follow_up_options() const {
    protocol::FollowUpOptions options;
    options.now = wall_now();
    options.origin = protocol::sender_origin();
    options.park = false;
    return options;
  }

  std::string_view state_name() const {
    switch (outcome_.kind) {
      case Outcome::Kind::success:
        return state::success;
      case Outcome::Kind::retry:
        return state::retry;
      case Outcome::Kind::failure:
        return state::failure;
      default:
        return "IGNORED";
    }
  }

  // Arguments as the extended record shows them: secrets masked.
  std::string secret_free(std::string_view json, bool positional) const {
    if (definition_ == nullptr) return std::string(json);
    const auto& parameters = definition_->schema.parameters;
    const bool any =
        std::any_of(parameters.begin(), parameters.end(), [](const ParameterSchema& p) { return p.secret; });
    if (!any) return std::string(json);
    Value value = parse_json(json);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!parameters[i].secret) continue;
      if (positional) {
        if (Array* items = value.if_array(); items != nullptr && i < items->size()) (*items)[i] = "********";
      } else if (Object* members = value.if_object(); members != nullptr && members->contains(parameters[i].name)) {
        members->set(parameters[i].name, "********");
      }
    }
    return to_json(value);
  }

  const Registry& registry_;
  const Execution& execution_;
  const RunnerOptions& options_;
  RunControl& control_;
  const RunnerHost& host_;
  const TaskDefinition* definition_ = nullptr;
  protocol::TaskMessage task_;
  std::optional<protocol::Body> body_;
  Array args_;
  Object kwargs_;
  std::optional<protocol::Embed> embed_;
  Array children_;
  Outcome outcome_;
};

}  // namespace

Outcome run_task(const Registry& registry, const Execution& execution, const RunnerOptions& options,
                 RunControl& control, const RunnerHost& host) {
  ERRAND_FAILPOINT("run.before");
  Outcome outcome = Attempt(registry, execution, options, control, host).run();
  ERRAND_FAILPOINT("run.after");
  return outcome;
}

}  // namespace errand::pools
