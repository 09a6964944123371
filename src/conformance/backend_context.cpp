#include "conformance/backend_context.hpp"

#include "core/uuid.hpp"

namespace errand::conformance {

BackendContext::~BackendContext() {
  for (const TaskId& id : ids_) {
    try {
      backend_.forget(id);
    } catch (const Error&) {
      // What a broken driver leaves behind cannot be tidied with that driver.
    }
  }
}

TaskId BackendContext::fresh_id() { return ids_.emplace_back(core::uuid4()); }

std::string BackendContext::fresh_group() { return core::uuid4(); }

TaskResult BackendContext::record(TaskId id, std::string_view state, std::string result_json, std::uint64_t token) {
  TaskResult result;
  result.id = std::move(id);
  result.state = std::string(state);
  result.result_json = std::move(result_json);
  result.token = token;
  if (state::ready(state))
    result.done_at = std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
  return result;
}

TaskResult BackendContext::stored(TaskIdView id) {
  auto found = backend_.get(id);
  if (!found) throw Failed{"expected a record of the task, got none"};
  return *std::move(found);
}

}  // namespace errand::conformance
