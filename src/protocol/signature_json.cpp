#include "protocol/signature_json.hpp"

#include "core/uuid.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/saferepr.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

namespace errand::protocol {
namespace {

Value seconds(Milliseconds duration) {
  if (duration.count() % 1000 == 0) return Value(duration.count() / 1000);
  return Value(static_cast<double>(duration.count()) / 1000);
}

Object options_of(const Signature& call) {
  const CallOptions& from = call.options;
  Object out;
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) out.set(name, value);
  };
  text("task_id", from.task_id);
  text("reply_to", from.reply_to);
  text("queue", from.queue);
  text("exchange", from.exchange);
  text("routing_key", from.routing_key);
  if (from.priority) out.set("priority", *from.priority);
  if (from.eta) out.set("eta", write_time(*from.eta));
  if (from.countdown) out.set("countdown", seconds(*from.countdown));
  if (from.expires) out.set("expires", write_time(*from.expires));
  if (from.expires_in) out.set("expires", seconds(*from.expires_in));
  if (from.time_limit) out.set("time_limit", seconds(*from.time_limit));
  if (from.soft_time_limit) out.set("soft_time_limit", seconds(*from.soft_time_limit));
  if (from.ignore_result) out.set("ignore_result", *from.ignore_result);
  text("compression", from.compression);
  text("shadow", from.shadow);
  text("group_id", from.group_id);
  if (from.group_index) out.set("group_index", Value(*from.group_index));
  text("root_id", from.root_id);
  text("parent_id", from.parent_id);
  if (from.retries != 0) out.set("retries", Value(from.retries));
  if (!from.headers.empty()) out.set("headers", Value(from.headers));
  // Whoever sends this signature later does not know which arguments are secret; Celery takes their text from here.
  // "...," stands for the result that will be put before them.
  if (!call.secret_args.empty()) {
    const std::string shown = args_repr(call.args, call.secret_args);
    out.set("argsrepr", call.immutable ? shown : "(..., " + shown.substr(1));
  }
  if (!call.secret_kwargs.empty()) out.set("kwargsrepr", kwargs_repr(call.kwargs, call.secret_kwargs));
  return out;
}

Value to_json_without_chain(const Signature& call, std::size_t depth);

Array list_of(const std::vector<Signature>& calls, std::size_t depth);

// The steps in the order they run; a step's own chain runs before the step behind it.
void flatten(const std::vector<Signature>& chain, std::vector<const Signature*>& out, std::size_t depth) {
  if (depth > kMaxSignatureDepth) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "send",
                 .subject = chain.front().task,
                 .detail = "signatures nested more than " + std::to_string(kMaxSignatureDepth) + " deep"});
  }
  for (const Signature& step : chain) {
    if (out.size() >= kMaxLinks) {
      throw Error({.kind = ErrorKind::invalid,
                   .operation = "send",
                   .subject = step.task,
                   .detail = "more than " + std::to_string(kMaxLinks) + " steps in one chain"});
    }
    out.push_back(&step);
    if (!step.chain.empty()) flatten(step.chain, out, depth + 1);
  }
}

Array chain_of(const Signature& call, std::size_t depth) {
  std::vector<const Signature*> steps;
  if (!call.chain.empty()) flatten(call.chain, steps, depth);
  Array out;
  out.reserve(steps.size());
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    out.push_back(to_json_without_chain(**step, depth + 1));
  return out;
}

Value to_json_without_chain(const Signature& call, std::size_t depth) {
  if (depth > kMaxSignatureDepth) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "send",
                 .subject = call.task,
                 .detail = "signatures nested more than " + std::to_string(kMaxSignatureDepth) + " deep"});
  }
  Object options = options_of(call);
  if (!call.link.empty()) options.set("link", Value(list_of(call.link, depth + 1)));
  if (!call.link_error.empty()) options.set("link_error", Value(list_of(call.link_error, depth + 1)));
  return Value::object({{"task", call.task},
                        {"args", Value(call.args)},
                        {"kwargs", Value(call.kwargs)},
                        {"options", Value(std::move(options))},
                        {"subtask_type", Value()},
                        {"immutable", call.immutable}});
}

Value to_json_at(const Signature& call, std::size_t depth) {
  Value out = to_json_without_chain(call, depth);
  if (Array chain = chain_of(call, depth); !chain.empty()) {
    out.as_object()["options"].as_object().set("chain", Value(std::move(chain)));
  }
  return out;
}

Array list_of(const std::vector<Signature>& calls, std::size_t depth) {
  Array out;
  out.reserve(calls.size());
  for (const Signature& call : calls) out.push_back(to_json_at(call, depth));
  return out;
}

[[noreturn]] void wrong(const std::string& field, std::string_view expected, const Value& got) {
  throw DecodeFailure(reason::bad_body, "signature." + field,
                      "expected " + std::string(expected) + ", got " + std::string(kind_name(got.kind())));
}

// Reads options and removes what it understood, so that the rest can be carried on.
class OptionReader {
 public:
  explicit OptionReader(Object& options) : options_(options) {}

  void text(const char* name, std::string& out) {
    take(name, [&](const Value& value) {
      if (value.if_text() == nullptr) wrong(name, "text", value);
      out = value.as_text();
    });
  }
  template <class T>
  void integer(const char* name, T& out) {
    take(name, [&](const Value& value) {
      if (!value.is_integer()) wrong(name, "integer", value);
      if constexpr (std::is_same_v<T, std::optional<int>>) {
        out = static_cast<int>(std::clamp<std::int64_t>(value.as_integer(), 0, 9));
      } else if constexpr (std::is_same_v<T, std::uint32_t>) {
        out = static_cast<std::uint32_t>(std::clamp<std::int64_t>(value.as_integer(), 0, 0xffff'ffff));
      } else {
        out = value.as_integer();
      }
    });
  }
  void flag(const char* name, std::optional<bool>& out) {
    take(name, [&](const Value& value) {
      if (!value.is_bool()) wrong(name, "bool", value);
      out = value.as_bool();
    });
  }
  void duration(const char* name, std::optional<Milliseconds>& out) {
    take(name, [&](const Value& value) { out = read_seconds(name, value); });
  }
  /// A time as ISO text, or seconds from sending.
  void time(const char* name, std::optional<TimePoint>& at, std::optional<Milliseconds>* after) {
    take(name, [&](const Value& value) {
      if (const std::string* text = value.if_text()) {
        at = read_time(*text);
        if (!at) wrong(name, "ISO 8601 time", value);
      } else if (after != nullptr) {
        *after = read_seconds(name, value);
      } else {
        wrong(name, "ISO 8601 time", value);
      }
    });
  }
  Array signatures(const char* name) {
    Array out;
    take(name, [&](const Value& value) {
      if (const Array* list = value.if_array()) {
        out = *list;
      } else if (value.is_object()) {
        out.push_back(value);  // Python takes one signature for a list of one
      } else {
        wrong(name, "array of signatures", value);
      }
    });
    return out;
  }

 private:
  static Milliseconds read_seconds(const char* name, const Value& value) {
    if (!value.is_integer() && !value.is_number()) wrong(name, "seconds", value);
    const double given = value.as_number();
    const double most = static_cast<double>(kLongestLimit.count()) / 1000;
    if (std::isnan(given)) wrong(name, "seconds", value);
    return Milliseconds{std::llround(std::clamp(given, -most, most) * 1000)};
  }
  template <class F>
  void take(const char* name, F&& use) {
    const Value* value = options_.find(name);
    if (value == nullptr) return;
    if (!value->is_null()) use(*value);
    options_.erase(name);
  }
  Object& options_;
};

ReadSignature read_at(const Value& value, std::size_t depth);

std::vector<Signature> read_list(const Array& list, std::size_t depth) {
  std::vector<Signature> out;
  out.reserve(list.size());
  for (const Value& item : list) out.push_back(read_at(item, depth).call);
  return out;
}

ReadSignature read_at(const Value& value, std::size_t depth) {
  if (depth > kMaxSignatureDepth) {
    throw DecodeFailure(reason::too_large, "signature",
                        "nested more than " + std::to_string(kMaxSignatureDepth) + " deep");
  }
  const Object* object = value.if_object();
  if (object == nullptr) wrong("", "object", value);
  ReadSignature out;
  const Value* task = object->find("task");
  if (task == nullptr || task->if_text() == nullptr) wrong("task", "text", task != nullptr ? *task : Value());
  out.call.task = task->as_text();
  if (const Value* args = object->find("args"); args != nullptr && !args->is_null()) {
    if (!args->is_array()) wrong("args", "array", *args);
    out.call.args = args->as_array();
  }
  if (const Value* kwargs = object->find("kwargs"); kwargs != nullptr && !kwargs->is_null()) {
    if (!kwargs->is_object()) wrong("kwargs", "object", *kwargs);
    out.call.kwargs = kwargs->as_object();
  }
  if (const Value* immutable = object->find("immutable"); immutable != nullptr && immutable->is_bool()) {
    out.call.immutable = immutable->as_bool();
  }
  if (const Value* type = object->find("subtask_type"); type != nullptr && type->if_text() != nullptr) {
    out.subtask_type = type->as_text();
  }
  if (const Value* options = object->find("options"); options != nullptr && !options->is_null()) {
    if (!options->is_object()) wrong("options", "object", *options);
    out.other_options = options->as_object();
  }
  CallOptions& to = out.call.options;
  OptionReader read(out.other_options);
  read.text("task_id", to.task_id);
  read.text("reply_to", to.reply_to);
  read.text("queue", to.queue);
  read.text("exchange", to.exchange);
  read.text("routing_key", to.routing_key);
  read.integer("priority", to.priority);
  read.time("eta", to.eta, nullptr);
  read.duration("countdown", to.countdown);
  read.time("expires", to.expires, &to.expires_in);
  read.duration("time_limit", to.time_limit);
  read.duration("soft_time_limit", to.soft_time_limit);
  read.flag("ignore_result", to.ignore_result);
  read.text("compression", to.compression);
  read.text("shadow", to.shadow);
  read.text("group_id", to.group_id);
  read.integer("group_index", to.group_index);
  read.text("root_id", to.root_id);
  read.text("parent_id", to.parent_id);
  read.integer("retries", to.retries);
  if (const Value* headers = out.other_options.find("headers"); headers != nullptr && headers->is_object()) {
    to.headers = headers->as_object();
    out.other_options.erase("headers");
  }
  out.call.link = read_list(read.signatures("link"), depth + 1);
  out.call.link_error = read_list(read.signatures("link_error"), depth + 1);
  Array chain = read.signatures("chain");
  std::reverse(chain.begin(), chain.end());
  out.call.chain = read_list(chain, depth + 1);

  if (out.subtask_type == "chain" || out.call.task == "celery.chain") {
    const Value* tasks = out.call.kwargs.find("tasks");
    if (tasks == nullptr || tasks->if_array() == nullptr)
      wrong("kwargs.tasks", "array", tasks != nullptr ? *tasks : Value());
    std::vector<Signature> steps = read_list(tasks->as_array(), depth + 1);
    if (steps.empty()) return out;
    Signature first = std::move(steps.front());
    if (!out.call.immutable) first.args.insert(first.args.begin(), out.call.args.begin(), out.call.args.end());
    first.chain.insert(first.chain.end(), std::make_move_iterator(steps.begin() + 1),
                       std::make_move_iterator(steps.end()));
    first.chain.insert(first.chain.end(), out.call.chain.begin(), out.call.chain.end());
    out.call = std::move(first);
    out.subtask_type = "";
  }
  return out;
}

}  // namespace

Value signature_to_json(const Signature& call) { return to_json_at(call, 1); }

Embed embed_of(const Signature& call) {
  Embed out;
  out.callbacks = list_of(call.link, 1);
  out.errbacks = list_of(call.link_error, 1);
  out.chain = chain_of(call, 1);
  return out;
}

TaskId freeze(Signature& call) {
  if (call.options.task_id.empty()) call.options.task_id = core::uuid4();
  TaskId last = call.options.task_id;
  for (Signature& step : call.chain) last = freeze(step);
  return last;
}

ReadSignature signature_from_json(const Value& value) { return read_at(value, 1); }

}  // namespace errand::protocol
