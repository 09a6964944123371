#include "client/connections.hpp"
#include "protocol/exception.hpp"

namespace errand {

TaskFailed::TaskFailed(std::string type, std::string message, std::string module, std::string traceback)
    : std::runtime_error(type + ": " + message), type_(std::move(type)), message_(std::move(message)),
      module_(std::move(module)), traceback_(std::move(traceback)) {}

namespace {

[[noreturn]] void no_backend(const TaskId& id) {
  throw Error({.kind = ErrorKind::unsupported, .operation = "result", .subject = id,
               .detail = "expected a result backend, none is configured; set result_backend"});
}

Value decode_result(const TaskResult& record) {
  Value value = parse_json(record.result_json);
  decode_typed(value);
  return value;
}

[[noreturn]] void throw_failure(const TaskResult& record) {
  const protocol::ExceptionInfo error = protocol::read_exception(record.result_json);
  const std::string text = error.text();
  const std::string message = text.size() > error.type.size() + 2 ? text.substr(error.type.size() + 2) : std::string();
  if (record.state == state::revoked) throw TaskRevoked(error.type, message, error.module, record.traceback);
  throw TaskFailed(error.type, message, error.module, record.traceback);
}

}  // namespace

std::optional<TaskResult> AsyncResult::record() const {
  auto backend = client_->connections().backend(Deadline::after(std::chrono::seconds(5)));
  if (!backend) no_backend(id_);
  return (*backend)->get(id_);
}

std::string AsyncResult::state() const {
  const auto found = record();
  return found ? found->state : std::string(state::pending);
}

bool AsyncResult::ready() const { return state::ready(state()); }

Value AsyncResult::get(Deadline deadline) const {
  if (!stores_result_) {
    throw Error({.kind = ErrorKind::invalid, .operation = "result", .subject = id_,
                 .detail = "expected a task that stores its result, this one was sent with ignore_result"});
  }
  auto backend = client_->connections().backend(deadline);
  if (!backend) no_backend(id_);
  const auto found = (*backend)->wait(id_, deadline);
  if (!found) {
    throw Error({.kind = ErrorKind::unavailable, .operation = "result", .subject = id_,
                 .detail = "expected a result by the deadline, got none yet; the task may still run"});
  }
  if (found->state != state::success) throw_failure(*found);
  return decode_result(*found);
}

Value AsyncResult::progress() const {
  const auto found = record();
  if (!found || state::ready(found->state) || found->state == state::retry) return Value();
  return decode_result(*found);
}

std::vector<AsyncResult> AsyncResult::children() const {
  std::vector<AsyncResult> children;
  const auto found = record();
  if (!found) return children;
  const Value tuples = parse_json(found->children_json);
  const Array* items = tuples.if_array();
  if (items == nullptr) return children;
  for (const Value& tuple : *items) {
    // [[id, parent], members or null]; a retried task lists itself, which is no child.
    const Array* outer = tuple.if_array();
    const Array* inner = outer == nullptr || outer->empty() ? nullptr : outer->front().if_array();
    const std::string* id = inner == nullptr || inner->empty() ? nullptr : inner->front().if_text();
    if (id != nullptr && *id != id_) children.emplace_back(*id, *client_);
  }
  return children;
}

void AsyncResult::forget() const {
  auto backend = client_->connections().backend(Deadline::after(std::chrono::seconds(5)));
  if (!backend) no_backend(id_);
  (*backend)->forget(id_);
}

}  // namespace errand
