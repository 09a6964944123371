#pragma once
// Failure hooks by type: what shall happen once when a task has finally failed, with that task's own parameters.
//
//   registry.add(provision, run_provision);
//   registry.use(provision.name(), errand::failure_hook(provision, [](errand::TaskContext& task,
//                                      const errand::Failure& why, std::string portfolio) { ... }));

#include <errand/context.hpp>
#include <errand/registry.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace errand {

/// What failure_hook() makes.
template <class F, class... A>
class FailureHook final : public Hooks {
 public:
  FailureHook(std::string task, TaskSchema schema, F function)
      : task_(std::move(task)), schema_(std::move(schema)), function_(std::move(function)) {}

  void on_failure(TaskContext& context, const Failure& why, const Array& args, const Object& kwargs) override {
    std::optional<std::tuple<A...>> typed;
    try {
      typed = decode_bound<A...>(task_, schema_, bind_arguments(task_, schema_, args, kwargs));
    } catch (const TaskError&) {
      return;  // the call itself was wrong: there are no such arguments
    }
    std::apply([&](A&... values) { std::invoke(function_, context, why, std::move(values)...); }, *typed);
  }

 private:
  std::string task_;
  TaskSchema schema_;
  F function_;
};

/// Calls `function(TaskContext&, const Failure&, A...)` once when the task has finally failed: thrown, timed out, or
/// its process died. The function gets the task's parameters, whether they were passed by place or by name. A call
/// whose arguments do not fit has none to pass on; Hooks::on_failure sees that one, too.
template <class R, class... A, class F>
std::shared_ptr<Hooks> failure_hook(const Task<R(A...)>& task, F function) {
  static_assert(std::is_invocable_v<F&, TaskContext&, const Failure&, std::remove_cvref_t<A>...>,
                "the hook must take TaskContext&, const Failure& and the task's parameters");
  return std::make_shared<FailureHook<F, std::remove_cvref_t<A>...>>(std::string(task.name()), task.schema(),
                                                                     std::move(function));
}

}  // namespace errand
