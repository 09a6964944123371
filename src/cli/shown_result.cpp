#include "cli/shown_result.hpp"

#include "core/text.hpp"
#include "protocol/exception.hpp"

#include <errand/error.hpp>

namespace errand::cli {

namespace {

/// Any JSON that a peer may have stored; text that is none is shown as text.
Value stored_json(const std::string& text) {
  try {
    Value value = parse_json(text, JsonLimits{.nodes = 10'000'000, .bytes = text.size() + 1});
    decode_typed(value);
    return value;
  } catch (const Error&) {
    return Value(core::escape_controls(core::shorten(text, 4'096)));
  }
}

Value error_of(const TaskResult& record) {
  const protocol::ExceptionInfo error = protocol::read_exception(record.result_json);
  const std::string text = error.text();
  // "ValueError: no such size" without its first word.
  const std::string message = text.rfind(error.type + ": ", 0) == 0 ? text.substr(error.type.size() + 2)
                              : text == error.type                  ? std::string()
                                                                    : text;
  return Value::object({{"type", error.type},
                        {"message", message},
                        {"module", error.module},
                        {"traceback", record.traceback.empty() ? Value() : Value(record.traceback)}});
}

bool holds_error(std::string_view state) {
  return state == state::failure || state == state::revoked || state == state::retry;
}

}  // namespace

int show_result(Context& context, const TaskId& id, const std::string& task, const std::optional<TaskResult>& record,
                bool late) {
  const TaskResult found = record.value_or(TaskResult{.id = id});
  const std::string name = !task.empty() ? task : found.extended ? found.extended->name : "";
  const bool failed = found.state == state::failure || found.state == state::revoked;
  Object document{{"id", id}, {"task", name.empty() ? Value() : Value(name)}, {"state", found.state}};
  std::string shown;
  if (found.state == state::success) {
    document.set("result", stored_json(found.result_json));
  } else if (holds_error(found.state)) {
    const Value error = error_of(found);
    const std::string message = error.find("message")->as_text();
    shown = error.find("type")->as_text() + (message.empty() ? "" : ": " + message);
    document.set("error", error);
  } else if (record) {
    document.set("progress", stored_json(found.result_json));
  }
  document.set("retries", static_cast<long long>(found.retries));
  if (found.extended) {
    document.set("worker", found.extended->worker.empty() ? Value() : Value(found.extended->worker));
    document.set("queue", found.extended->queue.empty() ? Value() : Value(found.extended->queue));
  }
  if (found.done_at) document.set("done_at", time_text(*found.done_at));
  context.out.result(Value(document));

  const std::string who = (name.empty() ? "task " : name + "[") + id + (name.empty() ? "" : "]");
  if (found.state == state::success) {
    context.out.text(to_json(stored_json(found.result_json), JsonStyle{.ascii = false}) + "\n");
  } else if (failed) {
    context.out.line(who + (found.state == state::revoked ? " was revoked: " : " failed: ") + shown);
  } else if (late) {
    context.out.line(who + " is not ready yet (" + found.state + "); ask later with: errand result " + id);
  } else if (!shown.empty()) {
    context.out.line(found.state + ": " + shown);
  } else if (const Value* progress = document.find("progress"); progress != nullptr && !progress->is_null()) {
    context.out.line(found.state + " " + to_json(*progress, JsonStyle{.ascii = false}));
  } else {
    context.out.line(found.state);
  }
  return failed || late ? 1 : 0;
}

}  // namespace errand::cli
