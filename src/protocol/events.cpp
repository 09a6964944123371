#include "protocol/events.hpp"

#include "protocol/body.hpp"
#include "protocol/content.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/saferepr.hpp"
#include "protocol/shown_value.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace errand::protocol {
namespace {

Value time_or_null(const std::optional<TimePoint>& time) { return time ? Value(write_time(*time)) : Value(); }

std::string result_repr(std::string_view json) {
  const std::optional<Value> value = shown_value(json);
  return value ? saferepr(*value) : "...";
}

void set_task(Object& event, const TaskMessage& task) {
  event.set("name", task.shadow.empty() ? task.task : task.shadow);
  event.set("args", task.argsrepr);
  event.set("kwargs", task.kwargsrepr);
  event.set("root_id", text_or_null(task.root_id));
  event.set("parent_id", text_or_null(task.parent_id));
  event.set("retries", Value(task.retries));
  event.set("eta", time_or_null(task.eta));
  event.set("expires", time_or_null(task.expires));
}

}  // namespace

std::uint64_t LamportClock::receive(std::uint64_t stamp) noexcept {
  // A peer's stamp at the end of the range would wrap ours to zero; time then stands still instead.
  const std::uint64_t latest = std::max(value_, stamp);
  value_ = latest < std::numeric_limits<std::int64_t>::max() ? latest + 1 : value_;
  return value_;
}

std::string event_routing_key(std::string_view type) {
  std::string out(type);
  std::replace(out.begin(), out.end(), '-', '.');
  return out;
}

Object EventBuilder::begin() {
  return Object{{"hostname", source_.hostname},
                {"utcoffset", source_.utcoffset},
                {"pid", source_.pid},
                {"clock", Value(static_cast<unsigned long long>(clock_->send()))}};
}

Object EventBuilder::finish(Object event, TimePoint now, std::string_view type) {
  event.set("timestamp", to_unix_seconds(now));
  event.set("type", Value(type));
  return event;
}

Object EventBuilder::worker(std::string_view type, TimePoint now, const WorkerVitals& vitals) {
  Object event = begin();
  event.set("freq", vitals.freq);
  event.set("active", Value(static_cast<unsigned long long>(vitals.active)));
  event.set("processed", Value(static_cast<unsigned long long>(vitals.processed)));
  event.set("loadavg", Value::array({vitals.loadavg[0], vitals.loadavg[1], vitals.loadavg[2]}));
  event.set("sw_ident", vitals.software);
  event.set("sw_ver", vitals.version);
  event.set("sw_sys", vitals.system);
  return finish(std::move(event), now, type);
}

Object EventBuilder::task_sent(TimePoint now, const Message& message, const Route& route, std::string_view queue) {
  const TaskMessage task = decode_task(message);
  Object event = begin();
  event.set("uuid", task.id);
  set_task(event, task);
  event.set("queue", Value(queue));
  event.set("exchange", route.exchange);
  event.set("routing_key", route.routing_key);
  return finish(std::move(event), now, "task-sent");
}

Object EventBuilder::task_received(TimePoint now, const TaskMessage& task) {
  Object event = begin();
  event.set("uuid", task.id);
  set_task(event, task);
  return finish(std::move(event), now, "task-received");
}

Object EventBuilder::task_started(TimePoint now, TaskIdView id) { return task_custom(now, "task-started", id, {}); }

Object EventBuilder::task_succeeded(TimePoint now, TaskIdView id, std::string_view result_json,
                                    double runtime_seconds) {
  return task_custom(now, "task-succeeded", id, {{"result", result_repr(result_json)}, {"runtime", runtime_seconds}});
}

Object EventBuilder::task_failed(TimePoint now, TaskIdView id, const ExceptionInfo& error, std::string_view traceback) {
  return task_custom(now, "task-failed", id, {{"exception", error.repr()}, {"traceback", Value(traceback)}});
}

Object EventBuilder::task_retried(TimePoint now, TaskIdView id, const ExceptionInfo& cause,
                                  std::string_view traceback) {
  return task_custom(now, "task-retried", id, {{"exception", cause.repr()}, {"traceback", Value(traceback)}});
}

Object EventBuilder::task_revoked(TimePoint now, TaskIdView id, bool terminated, std::optional<int> signal,
                                  bool expired) {
  return task_custom(now, "task-revoked", id,
                     {{"terminated", terminated}, {"signum", signal ? Value(*signal) : Value()}, {"expired", expired}});
}

Object EventBuilder::task_rejected(TimePoint now, TaskIdView id, bool requeue) {
  return task_custom(now, "task-rejected", id, {{"requeue", requeue}});
}

Object EventBuilder::task_custom(TimePoint now, std::string_view type, TaskIdView id, const Object& fields) {
  Object event = begin();
  event.set("uuid", Value(id));
  for (const auto& [name, value] : fields) event.set(name, value);
  return finish(std::move(event), now, type);
}

Envelope EventBuilder::wrap(std::string routing_key, std::string body) const {
  Envelope out;
  out.route = {std::string(kEventExchange), std::move(routing_key)};
  out.message.headers.set("hostname", source_.hostname);
  out.message.properties.set("delivery_mode", 1);
  out.message.body = std::move(body);
  return out;
}

Envelope EventBuilder::envelope(Object event) const {
  const Value* type = event.find("type");
  std::string key = event_routing_key(type != nullptr && type->if_text() != nullptr ? type->as_text() : "");
  return wrap(std::move(key), to_json(Value(std::move(event))));
}

Envelope EventBuilder::envelope(std::span<const Object> batch) const {
  Array list;
  list.reserve(batch.size());
  for (const Object& event : batch) list.emplace_back(event);
  return wrap("task.multi", to_json(Value(std::move(list))));
}

std::vector<Object> read_events(const Message& message) {
  require_json(message);
  Value body;
  try {
    body = parse_json(unpacked_body(message));
  } catch (const DecodeFailure&) {
    throw;
  } catch (const Error& error) {
    throw DecodeFailure(reason::undecodable, "event", error.detail());
  }
  std::vector<Object> out;
  const auto take = [&](Value& value) {
    const Value* type = value.find("type");
    if (type != nullptr && type->if_text() != nullptr && out.size() < kMaxEventReads)
      out.push_back(std::move(value.as_object()));
  };
  if (Array* list = body.if_array()) {
    for (Value& value : *list) take(value);
  } else {
    take(body);
  }
  return out;
}

}  // namespace errand::protocol
