#include "client/core.hpp"
#include "protocol/exception.hpp"

#include <utility>

namespace errand {

namespace {

constexpr std::size_t kMostChildren = 100'000;  // of one record, nested groups included

Value decode_result(const std::string& json) {
  Value value = parse_json(json);
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

[[noreturn]] void nothing_stored(const TaskId& id) {
  throw Error({.kind = ErrorKind::invalid,
               .operation = "result",
               .subject = id,
               .detail = "expected a task that stores its result, this one was sent with ignore_result"});
}

// One of Celery's result tuples: [[id, parent], members], where members is null for a task and a list of tuples for a
// group; a group stands for its members.
void collect(const Value& tuple, const TaskId& self, std::vector<TaskId>& out) {
  const Array* outer = tuple.if_array();
  if (outer == nullptr || outer->empty() || out.size() >= kMostChildren) return;
  if (outer->size() > 1) {
    if (const Array* members = (*outer)[1].if_array()) {
      for (const Value& member : *members) collect(member, self, out);
      return;
    }
  }
  const Array* inner = outer->front().if_array();
  const std::string* id = inner == nullptr || inner->empty() ? outer->front().if_text() : inner->front().if_text();
  if (id != nullptr && *id != self) out.push_back(*id);  // a retried task lists itself, which is no child
}

}  // namespace

TaskFailed::TaskFailed(std::string type, std::string message, std::string module, std::string traceback)
    : std::runtime_error(message.empty() ? type : type + ": " + message),
      type_(std::move(type)),
      message_(std::move(message)),
      module_(std::move(module)),
      traceback_(std::move(traceback)) {}

ResultTimeout::ResultTimeout(const TaskId& id, std::string last_state)
    : Error({.kind = ErrorKind::unavailable,
             .operation = "result",
             .subject = id,
             .detail = "expected a result by the deadline, got state " + last_state + "; the task may still run"}),
      last_state_(std::move(last_state)) {}

std::optional<TaskResult> AsyncResult::record() const {
  return core_->read(Deadline::after(client::Core::kLookup), id_,
                     [&](ResultBackend& backend) { return backend.get(id_); });
}

std::string AsyncResult::state() const {
  const auto found = record();
  return found ? found->state : std::string(state::pending);
}

bool AsyncResult::ready() const { return state::ready(state()); }
bool AsyncResult::successful() const { return state() == state::success; }

bool AsyncResult::wait(Deadline deadline) const {
  if (!stores_result_) nothing_stored(id_);
  return core_->await(id_, deadline).has_value();
}

Value AsyncResult::get(Deadline deadline) const {
  if (!stores_result_) nothing_stored(id_);
  const auto found = core_->await(id_, deadline);
  if (!found) throw ResultTimeout(id_, state());
  if (found->state != state::success) throw_failure(*found);
  return decode_result(found->result_json);
}

Value AsyncResult::progress() const {
  const auto found = record();
  if (!found || state::ready(found->state) || found->state == state::retry || found->state == state::pending ||
      found->state == state::received || found->state == state::started) {
    return Value();
  }
  return decode_result(found->result_json);
}

std::vector<AsyncResult> AsyncResult::children() const {
  std::vector<AsyncResult> children;
  const auto found = record();
  if (!found) return children;
  const Value tuples = parse_json(found->children_json);
  std::vector<TaskId> ids;
  if (const Array* items = tuples.if_array()) {
    for (const Value& tuple : *items) collect(tuple, id_, ids);
  }
  for (TaskId& id : ids) children.push_back(AsyncResult(core_, std::move(id), true, {}));
  return children;
}

std::optional<AsyncResult> AsyncResult::parent() const {
  if (before_.empty()) return std::nullopt;
  return AsyncResult(core_, before_.back(), true, {before_.begin(), before_.end() - 1});
}

void AsyncResult::forget() const {
  core_->with_backend(Deadline::after(client::Core::kLookup), id_,
                      [&](ResultBackend& backend) { backend.forget(id_); });
}

void AsyncResult::revoke(bool terminate) const { core_->revoke({&id_, 1}, terminate, "SIGTERM"); }

void AsyncResult::wrong_result(const Error& error) const {
  throw Error({.kind = ErrorKind::invalid, .operation = "result", .subject = id_, .detail = error.detail()});
}

std::size_t GroupResult::completed() const {
  std::size_t count = 0;
  for (const AsyncResult& member : members_) count += member.successful() ? 1 : 0;
  return count;
}

bool GroupResult::ready() const {
  for (const AsyncResult& member : members_) {
    if (!member.ready()) return false;
  }
  return true;
}

std::vector<Value> GroupResult::get(Deadline deadline) const {
  std::vector<Value> values;
  values.reserve(members_.size());
  for (const AsyncResult& member : members_) values.push_back(member.get(deadline));
  return values;
}

void GroupResult::save() const {
  std::vector<TaskId> ids;
  for (const AsyncResult& member : members_) ids.push_back(member.id());
  core_->with_backend(Deadline::after(client::Core::kLookup), id_,
                      [&](ResultBackend& backend) { backend.put_group(id_, ids); });
}

}  // namespace errand
