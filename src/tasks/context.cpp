#include <errand/context.hpp>
#include <errand/retry.hpp>

namespace errand {

void TaskContext::progress(std::int64_t current, std::int64_t total) {
  host_->progress("PROGRESS", Value::object({{"current", static_cast<long long>(current)},
                                             {"total", static_cast<long long>(total)}}));
}

void TaskContext::update_state(std::string_view state, const Value& meta) { host_->progress(state, meta); }

void TaskContext::check_cancelled() const {
  // The harder word first: a task that ignores a request may still clean up when its soft limit is passed.
  if (host_->soft_limit_passed()) throw SoftTimeLimitExceeded();
  if (const std::string_view reason = host_->stop_reason(); !reason.empty()) throw Cancelled(std::string(reason));
}

}  // namespace errand
