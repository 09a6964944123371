#include "protocol/follow_ups.hpp"

#include "core/uuid.hpp"
#include "protocol/call_message.hpp"
#include "protocol/canvas.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/saferepr.hpp"
#include "protocol/shown_value.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace errand::protocol {
namespace {

using canvas::Kind;

Value shown(std::string_view json) {
  if (json.empty()) return {};
  return shown_value(json).value_or("...");
}

Value tuple_of(const Value& id) { return Value::array({Value::array({id, Value()}), Value()}); }

Value as_group(Array tasks, const std::string& id) {
  return Value::object({{"task", "celery.group"},
                        {"args", Value::array()},
                        {"kwargs", Value::object({{"tasks", Value(std::move(tasks))}})},
                        {"options", Value::object({{"task_id", id}})},
                        {"subtask_type", "group"},
                        {"immutable", false}});
}

// Applies signatures one after another and collects what has to be sent.
class Applier {
 public:
  Applier(const TaskMessage& parent, const FollowUpOptions& options) {
    context_.now = options.now;
    context_.origin = options.origin;
    context_.reply_to = parent.reply_to;
    context_.parent_id = parent.id;
    context_.root_id = parent.root_id.empty() ? parent.id : parent.root_id;
    context_.route = options.route;
    context_.park = options.park;
    if (options.inherit_priority) context_.priority = parent.priority;
    new_id_ = options.new_id ? options.new_id : [] { return core::uuid4(); };
  }

  /// The body of a chord is the child of whoever made the chord, where that one said so, not of the last member; but
  /// a chain as body begins as the last member's child (what Celery does with both).
  void take_lineage_of(const Value& body) {
    if (canvas::kind_of(body) == Kind::chain) return;
    if (std::string root = canvas::text_option(body, "root_id"); !root.empty()) context_.root_id = std::move(root);
    if (std::string parent = canvas::text_option(body, "parent_id"); !parent.empty())
      context_.parent_id = std::move(parent);
  }

  /// `rest`: steps that are to follow in an outer chain, in wire order.
  void apply(Value signature, std::string_view first_arg, Array rest = {}) {
    context_.first_arg = first_arg;
    context_.first_value = shown(first_arg);
    apply_any(std::move(signature), std::move(rest));
  }
  std::string new_id() const { return new_id_(); }
  FollowUps finish() && { return std::move(out_); }

 private:
  void apply_any(Value signature, Array rest) {
    canvas::require_signature(signature);
    if (++depth_ > kMaxSignatureDepth) {
      throw DecodeFailure(reason::too_large, "signature",
                          "nested more than " + std::to_string(kMaxSignatureDepth) + " deep");
    }
    switch (canvas::kind_of(signature)) {
      case Kind::task:
        apply_task(std::move(signature), std::move(rest), true);
        break;
      case Kind::chain:
        apply_chain(signature, std::move(rest));
        break;
      case Kind::chord:
        apply_chord(std::move(signature), std::move(rest));
        break;
      case Kind::group:
      case Kind::chunks:
        apply_group(std::move(signature), std::move(rest));
        break;
    }
    --depth_;
  }

  void apply_task(Value signature, Array rest, bool child) {
    canvas::freeze(signature, "", {}, new_id_);
    // Its own chain runs before the steps that were waiting behind it.
    for (Value& step : canvas::signature_list(canvas::option(signature, "chain"))) rest.push_back(std::move(step));
    context_.chain = &rest;
    send(call_message(signature, context_));
    context_.chain = nullptr;
    if (child) out_.children.push_back(tuple_of(*canvas::option(signature, "task_id")));
  }

  void send(Envelope envelope) {
    bytes_ += envelope.message.body.size();
    if (out_.envelopes.size() >= kMaxLinks || bytes_ > kMaxFollowUpBytes) {
      throw DecodeFailure(reason::too_large, "signature",
                          "would send more than " + std::to_string(kMaxLinks) + " messages or " +
                              std::to_string(kMaxFollowUpBytes >> 20) + " MiB");
    }
    out_.envelopes.push_back(std::move(envelope));
  }

  // The result that is put before the arguments, changed for the signatures inside one container only.
  class WithFirstArg {
   public:
    WithFirstArg(Applier& applier, bool change, std::string_view json) : context_(applier.context_), change_(change) {
      if (!change_) return;
      before_ = {std::move(context_.first_arg), std::move(context_.first_value)};
      context_.first_arg = json;
      context_.first_value = shown(json);
    }
    ~WithFirstArg() {
      if (change_) std::tie(context_.first_arg, context_.first_value) = std::move(before_);
    }
    WithFirstArg(const WithFirstArg&) = delete;
    WithFirstArg& operator=(const WithFirstArg&) = delete;

   private:
    CallContext& context_;
    bool change_;
    std::pair<std::string, Value> before_;
  };

  void apply_chain(const Value& signature, Array rest) {
    const WithFirstArg scope(*this, canvas::immutable(signature), "");
    canvas::Membership membership{.group = canvas::text_option(signature, "group_id"), .index = {}, .chord = nullptr};
    if (const Value* index = canvas::option(signature, "group_index"); index != nullptr && index->is_integer()) {
      membership.index = index->as_integer();
    }
    membership.chord = canvas::option(signature, "chord");
    std::vector<Value> steps =
        canvas::chain_steps(canvas::members(signature), canvas::text_option(signature, "task_id"), membership,
                            canvas::signature_list(canvas::option(signature, "link_error")), new_id_);
    if (steps.empty()) return;
    if (const Value* link = canvas::option(signature, "link")) link_last(steps.back(), *link);
    if (rest.empty()) rest = canvas::signature_list(canvas::option(signature, "chain"));
    for (std::size_t i = steps.size(); i-- > 1;) rest.push_back(std::move(steps[i]));
    Value first = std::move(steps.front());
    // Arguments of the chain itself go to its first step, behind the result.
    if (const Value* args = signature.find("args"); args != nullptr && args->is_array() && !args->as_array().empty()) {
      prepend_args(first, args->as_array());
    }
    apply_any(std::move(first), std::move(rest));
  }

  static void link_last(Value& step, const Value& link) {
    Value* target = &step;
    if (canvas::kind_of(step) == Kind::chord) {
      Value* body = step.as_object()["kwargs"].as_object().find("body");
      if (body != nullptr && body->is_object()) target = body;
    }
    canvas::extend_option(*target, "link", link);
  }

  static void prepend_args(Value& signature, const Array& args) {
    if (canvas::immutable(signature)) return;
    Value& own = signature.as_object()["args"];
    if (!own.is_array()) own = Array{};
    own.as_array().insert(own.as_array().begin(), args.begin(), args.end());
  }

  void apply_group(Value signature, Array rest) {
    if (!rest.empty()) {
      // Cannot come from Python, which makes a chord of a group with a step behind it; the meaning is the same.
      Value body = std::move(rest.back());
      rest.pop_back();
      Value chord = Value::object(
          {{"task", "celery.chord"},
           {"args", Value::array()},
           {"kwargs",
            Value::object({{"header", std::move(signature)}, {"body", std::move(body)}, {"kwargs", Value(Object{})}})},
           {"options", Value(Object{})},
           {"subtask_type", "chord"},
           {"immutable", false}});
      apply_any(std::move(chord), std::move(rest));
      return;
    }
    const std::string own = canvas::text_option(signature, "task_id");
    const std::string group = own.empty() ? new_id() : own;
    std::vector<Value> members = canvas::group_members(signature);
    const Value* outer_chord = canvas::option(signature, "chord");
    const std::string outer_group = canvas::text_option(signature, "group_id");
    send_members(std::move(members), outer_chord != nullptr && !outer_group.empty() ? outer_group : group, group,
                 outer_chord);
  }

  // Freezes and sends the members of a group or of a chord's header.
  void send_members(std::vector<Value> members, const std::string& membership, const std::string& group,
                    const Value* chord) {
    Array tuples;
    std::int64_t index = 0;
    const std::size_t before = out_.children.size();
    for (Value& member : members) {
      // The place in the group is for the chord, which sorts the results by it.
      const std::optional<std::int64_t> place = chord != nullptr ? std::optional(index++) : std::nullopt;
      canvas::freeze(member, "", {.group = membership, .index = place, .chord = chord}, new_id_);
      if (const Value* id = canvas::option(member, "task_id")) tuples.push_back(tuple_of(*id));
      if (canvas::kind_of(member) == Kind::task) {
        apply_task(std::move(member), {}, false);
      } else {
        apply_any(std::move(member), {});
      }
    }
    // Python counts the group as the child, not its members.
    out_.children.resize(before);
    out_.children.push_back(Value::array({Value::array({group, Value()}), Value(std::move(tuples))}));
  }

  void apply_chord(Value signature, Array rest) {
    const WithFirstArg scope(*this, canvas::immutable(signature), "");
    Array header_members = canvas::members(signature);  // checks that kwargs has them
    Object& kwargs = signature.as_object()["kwargs"].as_object();
    const Value* header = kwargs.find("header");
    std::string group = header != nullptr && header->is_object() ? canvas::text_option(*header, "task_id") : "";
    if (group.empty()) group = new_id();
    const Value shell = as_group(std::move(header_members), group);
    std::vector<Value> members = canvas::group_members(shell);
    Value* body = kwargs.find("body");
    if (body == nullptr || !body->is_object()) {
      send_members(std::move(members), group, group, nullptr);
      return;
    }
    give_body_options(signature, *body, std::move(rest));
    if (members.empty()) {
      const WithFirstArg no_results(*this, true, "[]");
      apply_any(std::move(*body), {});
      return;
    }
    out_.chords.push_back({group, canvas::chord_size(members)});
    const Value chord = std::move(*body);
    for (Value& member : members) {
      // These members belong to this chord, whatever an earlier freeze of the whole said.
      canvas::set_option(member, "group_id", Value());
      if (const Value* args = signature.find("args"); args != nullptr && args->is_array()) {
        prepend_args(member, args->as_array());
      }
    }
    send_members(std::move(members), group, group, &chord);
  }

  // Everything that was said of the chord is said of its body; steps behind the chord follow the body.
  void give_body_options(const Value& signature, Value& body, Array rest) {
    const Value* options = signature.find("options");
    if (options != nullptr && options->is_object()) {
      for (const auto& [name, value] : options->as_object()) {
        if (value.is_null() || name == "task_id") continue;
        if (name == "link" || name == "link_error") {
          canvas::extend_option(body, name, value);
        } else {
          canvas::set_option(body, name, value);
        }
      }
    }
    // Whoever finishes the chord sends the body; it is still the child of the task that made the chord.
    canvas::set_option(body, "root_id", context_.root_id);
    canvas::set_option(body, "parent_id", context_.parent_id);
    if (!rest.empty()) canvas::set_option(body, "chain", Value(std::move(rest)));
    canvas::Membership membership{.group = canvas::text_option(body, "group_id"), .index = {}, .chord = nullptr};
    if (const Value* index = canvas::option(body, "group_index"); index != nullptr && index->is_integer()) {
      membership.index = index->as_integer();
    }
    Value chord;
    if (const Value* given = canvas::option(body, "chord")) {
      chord = *given;
      membership.chord = &chord;
    }
    canvas::freeze(body, canvas::text_option(signature, "task_id"), membership, new_id_);
  }

  CallContext context_;
  canvas::NewId new_id_;
  FollowUps out_;
  std::size_t bytes_ = 0;
  std::size_t depth_ = 0;
};

// The id a failure of this step is stored under: a container's is that of its last task.
std::string id_of(const Value& step) {
  std::string id = canvas::text_option(step, "task_id");
  if (id.empty() && canvas::kind_of(step) == Kind::chord) {
    const Value* kwargs = step.find("kwargs");
    const Value* body = kwargs != nullptr ? kwargs->find("body") : nullptr;
    if (body != nullptr) id = canvas::text_option(*body, "task_id");
  }
  return id;
}

FollowUps send_errbacks(const TaskMessage& failed, const Array& errbacks, const FollowUpOptions& options) {
  Applier applier(failed, options);
  if (!errbacks.empty()) applier.apply(as_group(errbacks, applier.new_id()), to_json(Value(failed.id)));
  return std::move(applier).finish();
}

}  // namespace

FollowUps after_success(const TaskMessage& task, const Embed& embed, std::string_view result_json,
                        const FollowUpOptions& options) {
  Applier applier(task, options);
  if (embed.callbacks.size() == 1) {
    applier.apply(embed.callbacks.front(), result_json);
  } else {
    Array single;
    for (const Value& callback : embed.callbacks) {
      if (canvas::kind_of(callback) == Kind::group) {
        applier.apply(callback, result_json);
      } else {
        single.push_back(callback);
      }
    }
    if (!single.empty()) applier.apply(as_group(std::move(single), applier.new_id()), result_json);
  }
  if (!embed.chain.empty()) {
    Array rest(embed.chain.begin(), embed.chain.end() - 1);
    applier.apply(embed.chain.back(), result_json, std::move(rest));
  }
  return std::move(applier).finish();
}

FollowUps after_failure(const TaskMessage& task, const Embed& embed, const FollowUpOptions& options) {
  return send_errbacks(task, embed.errbacks, options);
}

std::vector<WaitingStep> waiting_steps(const Embed& embed) {
  std::vector<WaitingStep> out;
  for (auto step = embed.chain.rbegin(); step != embed.chain.rend(); ++step) {
    WaitingStep waiting{.id = id_of(*step), .group = "", .index = {}, .chord = {}};
    if (waiting.id.empty()) continue;
    // A chord reports with its body, which is where its place in an outer chord is kept.
    const Value* kwargs = step->find("kwargs");
    const Value* body = canvas::kind_of(*step) == Kind::chord && kwargs != nullptr ? kwargs->find("body") : nullptr;
    const Value& reporting = body != nullptr && body->is_object() ? *body : *step;
    const Value* chord = canvas::option(reporting, "chord");
    std::string group = canvas::text_option(reporting, "group_id");
    if (chord != nullptr && chord->is_object() && !group.empty()) {
      waiting.group = std::move(group);
      waiting.chord = *chord;
      const Value* index = canvas::option(reporting, "group_index");
      if (index != nullptr && index->is_integer()) waiting.index = index->as_integer();
    }
    out.push_back(std::move(waiting));
  }
  return out;
}

FollowUps chord_body(const TaskMessage& last_member, const Value& body, std::span<const std::string> results,
                     const FollowUpOptions& options) {
  std::string list = "[";
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i > 0) list += ", ";
    list += results[i].empty() ? "null" : results[i];
  }
  list += ']';
  Applier applier(last_member, options);
  canvas::require_signature(body);
  applier.take_lineage_of(body);
  applier.apply(body, list);
  return std::move(applier).finish();
}

ChordFailure chord_failed(const TaskMessage& last_member, const Value& body, TaskIdView failed_member,
                          const ExceptionInfo& cause, const FollowUpOptions& options) {
  canvas::require_signature(body);
  ChordFailure out;
  out.error = chord_error(failed_member, cause);
  const auto fail = [&](const Value& signature) {
    const std::string id = id_of(signature);
    if (id.empty()) return;
    out.ids.push_back(id);
    TaskMessage failed = last_member;
    failed.id = id;
    if (failed.root_id.empty()) failed.root_id = last_member.id;
    FollowUps sent = send_errbacks(failed, canvas::signature_list(canvas::option(signature, "link_error")), options);
    std::move(sent.envelopes.begin(), sent.envelopes.end(), std::back_inserter(out.errbacks.envelopes));
    std::move(sent.children.begin(), sent.children.end(), std::back_inserter(out.errbacks.children));
    std::move(sent.chords.begin(), sent.chords.end(), std::back_inserter(out.errbacks.chords));
  };
  if (canvas::kind_of(body) == Kind::group) {
    for (const Value& member : canvas::group_members(body)) fail(member);
  } else {
    fail(body);
  }
  return out;
}

FollowUps apply_signature(const TaskMessage& parent, const Value& signature, std::string_view first_arg,
                          const FollowUpOptions& options) {
  Applier applier(parent, options);
  applier.apply(signature, first_arg);
  return std::move(applier).finish();
}

}  // namespace errand::protocol
