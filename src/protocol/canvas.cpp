#include "protocol/canvas.hpp"

#include "protocol/body.hpp"
#include "protocol/decode_failure.hpp"

#include <utility>

namespace errand::protocol::canvas {
namespace {

[[noreturn]] void wrong(std::string_view field, std::string_view expected, const Value* got) {
  throw DecodeFailure(reason::bad_body, "signature." + std::string(field),
                      "expected " + std::string(expected) + ", got " +
                          (got == nullptr ? "nothing" : std::string(kind_name(got->kind()))));
}

Value& member(Value& signature, std::string_view key) { return signature.as_object()[key]; }

Object& options_of(Value& signature) {
  Value& options = member(signature, "options");
  if (!options.is_object()) options = Object{};
  return options.as_object();
}

Object& kwargs_of(Value& signature) {
  Value& kwargs = member(signature, "kwargs");
  if (!kwargs.is_object()) kwargs = Object{};
  return kwargs.as_object();
}

const Value* kwarg(const Value& signature, std::string_view name) {
  const Value* kwargs = signature.find("kwargs");
  return kwargs == nullptr ? nullptr : kwargs->find(name);
}

void join(Value& signature, const Membership& membership) {
  // A signature that already belongs to a group stays in it: changing it would stall that group's chord.
  if (!membership.group.empty() && option(signature, "group_id") == nullptr) {
    set_option(signature, "group_id", membership.group);
  }
  if (membership.chord != nullptr) set_option(signature, "chord", *membership.chord);
  if (membership.index) set_option(signature, "group_index", Value(*membership.index));
}

Value make_chord(Value header, Value body) {
  Object options;
  if (const Value* id = option(body, "task_id")) options.set("task_id", *id);
  return Value::object(
      {{"task", "celery.chord"},
       {"args", Value::array()},
       {"kwargs",
        Value::object({{"kwargs", Value::object()}, {"header", std::move(header)}, {"body", std::move(body)}})},
       {"options", Value(std::move(options))},
       {"subtask_type", "chord"},
       {"immutable", false}});
}

void freeze_list(Array& list, const Membership& outer, const NewId& new_id) {
  std::int64_t index = 0;
  for (Value& item : list) {
    freeze(item, "", {.group = outer.group, .index = index++, .chord = outer.chord}, new_id);
  }
}

// Python flattens groups in groups when it freezes; the indices then go on through them.
Array flattened(const Value& group) {
  std::vector<Value> flat = group_members(group);
  return Array(std::make_move_iterator(flat.begin()), std::make_move_iterator(flat.end()));
}

std::size_t count(const Value& signature) {
  switch (kind_of(signature)) {
    case Kind::task:
      return 1;
    case Kind::chain: {
      const Array tasks = members(signature);
      for (auto step = tasks.rbegin(); step != tasks.rend(); ++step) {
        if (const std::size_t size = count(*step); size > 0) return size;
      }
      return 0;
    }
    case Kind::chord: {
      const Value* body = kwarg(signature, "body");
      return body != nullptr && body->is_object() ? count(*body) : 0;
    }
    case Kind::group:
    case Kind::chunks: {
      std::size_t sum = 0;
      for (const Value& item : members(signature)) sum += count(item);
      return sum;
    }
  }
  return 0;
}

}  // namespace

Kind kind_of(const Value& signature) noexcept {
  const Value* type = signature.find("subtask_type");
  const Value* task = signature.find("task");
  const std::string* by_type = type != nullptr ? type->if_text() : nullptr;
  const std::string* by_name = task != nullptr ? task->if_text() : nullptr;
  const auto is = [&](std::string_view name) {
    if (by_type != nullptr) return *by_type == name;
    return by_name != nullptr && by_name->starts_with("celery.") && std::string_view(*by_name).substr(7) == name;
  };
  if (is("chain")) return Kind::chain;
  if (is("group")) return Kind::group;
  if (is("chord")) return Kind::chord;
  if (is("chunks")) return Kind::chunks;
  return Kind::task;
}

const Value* option(const Value& signature, std::string_view name) noexcept {
  const Value* options = signature.find("options");
  const Value* value = options == nullptr ? nullptr : options->find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string text_option(const Value& signature, std::string_view name) {
  const Value* value = option(signature, name);
  if (value == nullptr) return "";
  if (value->if_text() == nullptr) wrong("options." + std::string(name), "text or null", value);
  return value->as_text();
}

void set_option(Value& signature, std::string_view name, Value value) {
  options_of(signature).set(std::string(name), std::move(value));
}

void extend_option(Value& signature, std::string_view name, const Value& signatures) {
  Array list = signature_list(option(signature, name));
  for (Value& added : signature_list(&signatures)) list.push_back(std::move(added));
  set_option(signature, name, Value(std::move(list)));
}

Array signature_list(const Value* option) {
  if (option == nullptr || option->is_null()) return {};
  if (option->is_object()) return {*option};
  if (!option->is_array()) wrong("options", "a signature or an array of them", option);
  return option->as_array();
}

void require_signature(const Value& signature) {
  if (!signature.is_object()) wrong("", "object", &signature);
  const Value* task = signature.find("task");
  if (task == nullptr || task->if_text() == nullptr || task->as_text().empty()) wrong("task", "a task name", task);
  for (const char* name : {"kwargs", "options"}) {
    const Value* value = signature.find(name);
    if (value != nullptr && !value->is_null() && !value->is_object()) wrong(name, "object", value);
  }
  const Value* args = signature.find("args");
  if (args != nullptr && !args->is_null() && !args->is_array()) wrong("args", "array", args);
}

bool immutable(const Value& signature) noexcept {
  const Value* value = signature.find("immutable");
  const bool* flag = value == nullptr ? nullptr : value->if_bool();
  return flag != nullptr && *flag;
}

Array members(const Value& signature) {
  const Kind kind = kind_of(signature);
  if (kind == Kind::chunks) {
    const Value* task = kwarg(signature, "task");
    const Value* items = kwarg(signature, "it");
    const Value* size = kwarg(signature, "n");
    if (task == nullptr || !task->is_object()) wrong("kwargs.task", "object", task);
    if (items == nullptr || !items->is_array()) wrong("kwargs.it", "array", items);
    if (size == nullptr || size->if_integer() == nullptr || size->as_integer() < 1)
      wrong("kwargs.n", "integer from 1", size);
    Array out;
    const Array& all = items->as_array();
    const auto step = static_cast<std::size_t>(size->as_integer());
    for (std::size_t at = 0; at < all.size(); at += std::min(step, all.size() - at)) {
      const std::size_t end = at + std::min(step, all.size() - at);
      Array part(all.begin() + static_cast<std::ptrdiff_t>(at), all.begin() + static_cast<std::ptrdiff_t>(end));
      out.push_back(Value::object({{"task", "celery.starmap"},
                                   {"args", Value::array()},
                                   {"kwargs", Value::object({{"task", *task}, {"it", Value(std::move(part))}})},
                                   {"options", Value(Object{})},
                                   {"subtask_type", "xstarmap"},
                                   {"immutable", true}}));
    }
    return out;
  }
  const Value* list = kwarg(signature, kind == Kind::chord ? "header" : "tasks");
  if (kind == Kind::chord && list != nullptr && list->is_object()) {
    require_signature(*list);
    return kind_of(*list) == Kind::group ? members(*list) : Array{*list};
  }
  if (list == nullptr || !list->is_array())
    wrong(kind == Kind::chord ? "kwargs.header" : "kwargs.tasks", "array", list);
  for (const Value& item : list->as_array()) require_signature(item);
  return list->as_array();
}

std::vector<Value> group_members(const Value& group) {
  std::vector<Value> out;
  Array work = members(group);
  std::vector<Value> stack(std::make_move_iterator(work.rbegin()), std::make_move_iterator(work.rend()));
  while (!stack.empty()) {
    Value next = std::move(stack.back());
    stack.pop_back();
    if (kind_of(next) == Kind::group) {
      Array inner = members(next);
      stack.insert(stack.end(), std::make_move_iterator(inner.rbegin()), std::make_move_iterator(inner.rend()));
    } else {
      out.push_back(std::move(next));
    }
    if (out.size() + stack.size() > kMaxLinks) {
      throw DecodeFailure(reason::too_large, "signature",
                          "a group of more than " + std::to_string(kMaxLinks) + " tasks");
    }
  }
  return out;
}

std::vector<Value> chain_steps(Array tasks, const std::string& id, const Membership& membership,
                               const Array& link_error, const NewId& new_id) {
  std::vector<Value> steps;  // last step first, as Python prepares and the wire carries them
  Array work = std::move(tasks);
  while (!work.empty()) {
    Value step = std::move(work.back());
    work.pop_back();
    require_signature(step);
    if (kind_of(step) == Kind::group) {
      Array alone = members(step);
      if (alone.size() == 1) step = std::move(alone.front());
    }
    if (kind_of(step) == Kind::chain) {
      Array inner = members(step);
      work.insert(work.end(), std::make_move_iterator(inner.begin()), std::make_move_iterator(inner.end()));
      if (work.size() + steps.size() > kMaxLinks) {
        throw DecodeFailure(reason::too_large, "signature",
                            "a chain of more than " + std::to_string(kMaxLinks) + " steps");
      }
      continue;
    }
    if (kind_of(step) == Kind::chunks) {
      // A group by another name; as one, a step behind it waits for all of it.
      step = Value::object({{"task", "celery.group"},
                            {"args", Value::array()},
                            {"kwargs", Value::object({{"tasks", Value(members(step))}})},
                            {"options", Value(Object{})},
                            {"subtask_type", "group"},
                            {"immutable", false}});
    }
    if (kind_of(step) == Kind::group && !steps.empty()) {
      Value body = std::move(steps.back());
      steps.pop_back();
      step = make_chord(std::move(step), std::move(body));
    }
    const bool last = steps.empty();
    freeze(step, last ? id : "", last ? membership : Membership{}, new_id);
    if (!link_error.empty()) {
      Value* body = kind_of(step) == Kind::chord ? kwargs_of(step).find("body") : nullptr;
      extend_option(body != nullptr && body->is_object() ? *body : step, "link_error", Value(link_error));
    }
    steps.push_back(std::move(step));
  }
  return {std::make_move_iterator(steps.rbegin()), std::make_move_iterator(steps.rend())};
}

void freeze(Value& signature, const std::string& id, const Membership& membership, const NewId& new_id) {
  require_signature(signature);
  const Kind kind = kind_of(signature);
  if (kind == Kind::task) {
    if (option(signature, "task_id") == nullptr) set_option(signature, "task_id", id.empty() ? new_id() : id);
    join(signature, membership);
    return;
  }
  if (kind == Kind::chain) {
    const std::string own = text_option(signature, "task_id");
    std::vector<Value> steps = chain_steps(members(signature), own.empty() ? id : own, membership, {}, new_id);
    if (!steps.empty()) {
      // The chain is known by its last step, which waits for all before it.
      const Value& last = steps.back();
      const Value* body = kind_of(last) == Kind::chord ? kwarg(last, "body") : nullptr;
      const Value* last_id = option(body != nullptr && body->is_object() ? *body : last, "task_id");
      if (last_id != nullptr) set_option(signature, "task_id", Value(*last_id));
    }
    kwargs_of(signature).set(
        "tasks", Value(Array(std::make_move_iterator(steps.begin()), std::make_move_iterator(steps.end()))));
    return;
  }
  if (kind == Kind::chord) {
    Array header = members(signature);
    Value as_group = Value::object({{"task", "celery.group"},
                                    {"args", Value::array()},
                                    {"kwargs", Value::object({{"tasks", Value(std::move(header))}})},
                                    {"options", Value(Object{})},
                                    {"subtask_type", "group"},
                                    {"immutable", false}});
    const Value* given = kwarg(signature, "header");
    const std::string group = given != nullptr && given->is_object() ? text_option(*given, "task_id") : "";
    Array flat = flattened(as_group);
    freeze_list(flat, {}, new_id);
    kwargs_of(as_group).set("tasks", Value(std::move(flat)));
    set_option(as_group, "task_id", group.empty() ? new_id() : group);
    kwargs_of(signature).set("header", std::move(as_group));
    Value* body = kwargs_of(signature).find("body");
    if (body != nullptr && body->is_object()) {
      const std::string own = text_option(signature, "task_id");
      freeze(*body, own.empty() ? id : own, membership, new_id);
      if (const Value* body_id = option(*body, "task_id")) set_option(signature, "task_id", Value(*body_id));
    }
    return;
  }
  // A group, or chunks which become one.
  if (option(signature, "task_id") == nullptr) set_option(signature, "task_id", id.empty() ? new_id() : id);
  Array flat = flattened(signature);
  freeze_list(flat, membership, new_id);
  const Value group_id = *option(signature, "task_id");
  if (kind == Kind::chunks) {
    signature = Value::object({{"task", "celery.group"},
                               {"args", Value::array()},
                               {"kwargs", Value(Object{})},
                               {"options", Value::object({{"task_id", group_id}})},
                               {"subtask_type", "group"},
                               {"immutable", true}});
  }
  kwargs_of(signature).set("tasks", Value(std::move(flat)));
}

std::size_t chord_size(const std::vector<Value>& members) {
  std::size_t sum = 0;
  for (const Value& item : members) sum += count(item);
  return sum;
}

}  // namespace errand::protocol::canvas
