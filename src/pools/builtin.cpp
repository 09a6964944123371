#include "pools/builtin.hpp"

#include "protocol/exception.hpp"
#include "protocol/signature_json.hpp"

#include <algorithm>
#include <array>

namespace errand::pools {

namespace {
constexpr std::array<std::string_view, 4> kNames{"celery.accumulate", "celery.backend_cleanup", "celery.map",
                                                 "celery.starmap"};

const Value& argument(const Object& kwargs, std::string_view name) {
  const Value* found = kwargs.find(name);
  if (found == nullptr) throw TaskError("TypeError", "missing argument '" + std::string(name) + "'");
  return *found;
}

// [task(x) for x in it], or task(*x): inline in this worker, so the inner task must be registered here.
Value map(const Registry& registry, TaskContext& context, const Object& kwargs, bool star) {
  const protocol::ReadSignature inner = protocol::signature_from_json(argument(kwargs, "task"));
  const TaskDefinition* definition = registry.find(inner.call.task);
  if (definition == nullptr) throw TaskError("NotRegistered", inner.call.task, "celery.exceptions");
  Array results;
  for (const Value& item : argument(kwargs, "it").as_array()) {
    Array args = star ? item.as_array() : Array{item};
    args.insert(args.end(), inner.call.args.begin(), inner.call.args.end());
    results.push_back(definition->invoke(context, args, inner.call.kwargs));
  }
  return Value(std::move(results));
}
}  // namespace

bool is_builtin(std::string_view task) noexcept {
  return std::find(kNames.begin(), kNames.end(), task) != kNames.end();
}

Value run_builtin(std::string_view task, const Registry& registry, TaskContext& context, const Array& args,
                  const Object& kwargs) {
  if (task == "celery.map") return map(registry, context, kwargs, false);
  if (task == "celery.starmap") return map(registry, context, kwargs, true);
  if (task == "celery.backend_cleanup") return Value();  // stores expire results by themselves
  if (task == "celery.accumulate") {
    const Value* index = kwargs.find("index");
    if (index == nullptr || index->is_null()) return Value(args);
    const std::int64_t at = index->as_integer();
    if (at < 0 || static_cast<std::size_t>(at) >= args.size())
      throw TaskError("IndexError", "tuple index out of range");
    return args[static_cast<std::size_t>(at)];
  }
  throw TaskError("NotRegistered", std::string(task), "celery.exceptions");
}

}  // namespace errand::pools
