#include "pools/ipc.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <cstring>

namespace errand::pools::ipc {

namespace {

// Numbers in the machine's own order: both ends are the same process image.
class Writer {
 public:
  Writer(std::string& out, Type type) : out_(out), start_(out.size()) {
    out_.append(sizeof(std::uint32_t), '\0');
    put(static_cast<std::uint8_t>(type));
  }
  ~Writer() {
    const auto size = static_cast<std::uint32_t>(out_.size() - start_ - sizeof(std::uint32_t));
    std::memcpy(out_.data() + start_, &size, sizeof size);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void put(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(std::string_view text) {
    put(static_cast<std::uint32_t>(text.size()));
    out_ += text;
  }
  void put(const std::string& text) { put(std::string_view(text)); }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  void put(Milliseconds value) { put(static_cast<std::int64_t>(value.count())); }
  void put(TimePoint value) { put(static_cast<std::int64_t>(value.time_since_epoch().count())); }
  void put(const Route& route) {
    put(route.exchange);
    put(route.routing_key);
  }
  void put(const Object& object) {
    put(static_cast<std::uint32_t>(object.size()));
    for (const auto& [name, value] : object) {
      put(name);
      put(value);
    }
  }
  void put(const Value& value) {
    put(static_cast<std::uint8_t>(value.kind()));
    switch (value.kind()) {
      case Value::Kind::null:
        break;
      case Value::Kind::boolean:
        put(value.as_bool());
        break;
      case Value::Kind::integer:
        put(value.as_integer());
        break;
      case Value::Kind::big_integer:
        put(value.as_big_integer().digits);
        break;
      case Value::Kind::number:
        put(value.as_number());
        break;
      case Value::Kind::text:
        put(value.as_text());
        break;
      case Value::Kind::bytes:
        put(value.as_bytes().data);
        break;
      case Value::Kind::array:
        put(static_cast<std::uint32_t>(value.as_array().size()));
        for (const Value& item : value.as_array()) put(item);
        break;
      case Value::Kind::object:
        put(value.as_object());
        break;
    }
  }
  void put(const Message& message) {
    put(message.headers);
    put(message.properties);
    put(message.content_type);
    put(message.content_encoding);
    put(message.body);
  }

 private:
  std::string& out_;
  std::size_t start_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  T get() {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      T value;
      const std::string_view bytes = take(sizeof value);
      std::memcpy(&value, bytes.data(), bytes.size());
      return value;
    } else if constexpr (std::is_same_v<T, std::string>) {
      return std::string(take(get<std::uint32_t>()));
    } else if constexpr (std::is_same_v<T, Milliseconds>) {
      return Milliseconds{get<std::int64_t>()};
    } else if constexpr (std::is_same_v<T, TimePoint>) {
      return TimePoint{Microseconds{get<std::int64_t>()}};
    } else if constexpr (std::is_same_v<T, Route>) {
      Route route;
      route.exchange = get<std::string>();
      route.routing_key = get<std::string>();
      return route;
    } else if constexpr (std::is_same_v<T, Object>) {
      constexpr std::uint32_t kReserveAtMost = 1'024;
      auto left = get<std::uint32_t>();
      std::vector<Object::Member> members;
      members.reserve(std::min(left, kReserveAtMost));
      for (; left > 0; --left) {
        std::string name = get<std::string>();
        members.emplace_back(std::move(name), get<Value>());
      }
      return Object(std::move(members));
    } else if constexpr (std::is_same_v<T, Value>) {
      return value();
    } else {
      static_assert(std::is_same_v<T, Message>);
      Message message;
      message.headers = get<Object>();
      message.properties = get<Object>();
      message.content_type = get<std::string>();
      message.content_encoding = get<std::string>();
      message.body = get<std::string>();
      return message;
    }
  }
  template <class T>
  std::optional<T> maybe() {
    if (!get<bool>()) return std::nullopt;
    return get<T>();
  }

 private:
  std::string_view take(std::size_t size) {
    if (size > bytes_.size()) {
      throw Error({.kind = ErrorKind::bug,
                   .operation = "pool.ipc",
                   .detail = "a frame between supervisor and child is cut short"});
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  Value value() {
    switch (static_cast<Value::Kind>(get<std::uint8_t>())) {
      case Value::Kind::null:
        return Value();
      case Value::Kind::boolean:
        return Value(get<bool>());
      case Value::Kind::integer:
        return Value(static_cast<long long>(get<std::int64_t>()));
      case Value::Kind::big_integer:
        return Value(BigInteger{get<std::string>()});
      case Value::Kind::number:
        return Value(get<double>());
      case Value::Kind::text:
        return Value(get<std::string>());
      case Value::Kind::bytes:
        return Value(Bytes{get<std::string>()});
      case Value::Kind::array: {
        Array items;
        for (auto left = get<std::uint32_t>(); left > 0; --left) items.push_back(value());
        return Value(std::move(items));
      }
      case Value::Kind::object:
        return Value(get<Object>());
    }
    throw Error({.kind = ErrorKind::bug, .operation = "pool.ipc", .detail = "a value of unknown kind in a frame"});
  }
  std::string_view bytes_;
};

}  // namespace

void append_run(std::string& out, const Execution& e) {
  Writer w(out, Type::run);
  w.put(e.run);
  w.put(e.id);
  w.put(e.task);
  w.put(*e.message);
  w.put(e.route);
  w.put(e.queue);
  w.put(e.redelivered);
  w.put(e.retries);
  w.put(e.soft_time_limit);
  w.put(e.time_limit);
  w.put(e.limits.any());
  if (e.limits.any()) {
    w.put(e.limits.memory);
    w.put(e.limits.cpu_time);
    w.put(e.limits.file_size);
    w.put(e.limits.disk);
    w.put(e.limits.open_files);
    w.put(e.limits.processes);
  }
  w.put(e.finish_failure != nullptr);
  if (e.finish_failure) {
    w.put(e.finish_failure->type);
    w.put(e.finish_failure->message);
    w.put(e.finish_failure->module);
  }
}

Execution read_run(std::string_view payload) {
  Reader r(payload);
  Execution e;
  e.run = r.get<std::uint64_t>();
  e.id = r.get<std::string>();
  e.task = r.get<std::string>();
  e.message = std::make_shared<const Message>(r.get<Message>());
  e.route = r.get<Route>();
  e.queue = r.get<std::string>();
  e.redelivered = r.get<bool>();
  e.retries = r.get<std::uint32_t>();
  e.soft_time_limit = r.maybe<Milliseconds>();
  e.time_limit = r.maybe<Milliseconds>();
  if (r.get<bool>()) {
    e.limits.memory = r.maybe<std::uint64_t>();
    e.limits.cpu_time = r.maybe<Milliseconds>();
    e.limits.file_size = r.maybe<std::uint64_t>();
    e.limits.disk = r.maybe<std::uint64_t>();
    e.limits.open_files = r.maybe<std::uint32_t>();
    e.limits.processes = r.maybe<std::uint32_t>();
  }
  if (r.get<bool>()) {
    Failure failure;
    failure.type = r.get<std::string>();
    failure.message = r.get<std::string>();
    failure.module = r.get<std::string>();
    e.finish_failure = std::make_shared<const Failure>(std::move(failure));
  }
  return e;
}

void append_cancel(std::string& out, std::uint64_t run, Cancel how, std::string_view reason) {
  Writer w(out, Type::cancel);
  w.put(run);
  w.put(how);
  w.put(reason);
}
CancelFrame read_cancel(std::string_view payload) {
  Reader r(payload);
  CancelFrame frame;
  frame.run = r.get<std::uint64_t>();
  frame.how = r.get<Cancel>();
  frame.reason = r.get<std::string>();
  return frame;
}

void append_reclaim(std::string& out) { Writer w(out, Type::reclaim); }
void append_stop(std::string& out) { Writer w(out, Type::stop); }

void append_started(std::string& out, std::uint64_t run) {
  Writer w(out, Type::started);
  w.put(run);
}
std::uint64_t read_started(std::string_view payload) { return Reader(payload).get<std::uint64_t>(); }

void append_finished(std::string& out, const Outcome& o) {
  Writer w(out, Type::finished);
  w.put(o.run);
  w.put(o.kind);
  w.put(o.result_json);
  w.put(o.traceback);
  w.put(o.error_text);
  w.put(o.error_type);
  w.put(o.error_message);
  w.put(o.error_module);
  w.put(o.defect_code);
  w.put(o.defect_detail);
  w.put(static_cast<std::uint32_t>(o.follow_ups.size()));
  for (const Envelope& envelope : o.follow_ups) {
    w.put(envelope.route);
    w.put(envelope.message);
    w.put(envelope.priority);
    w.put(envelope.not_before);
    w.put(static_cast<std::uint8_t>(envelope.asked_by.has_value()));  // by whom is not known in here
  }
  w.put(o.children_json);
  w.put(o.chord_json);
  w.put(static_cast<std::uint32_t>(o.chord_sizes.size()));
  for (const Outcome::ChordSize& chord : o.chord_sizes) {
    w.put(chord.group);
    w.put(static_cast<std::uint64_t>(chord.size));
  }
  w.put(static_cast<std::uint32_t>(o.never_run.size()));
  for (const Outcome::NeverRun& step : o.never_run) {
    w.put(step.id);
    w.put(step.group);
    w.put(step.index);
    w.put(step.chord_json);
  }
  w.put(o.wait);
  w.put(o.eta);
  w.put(o.retry_until);
  w.put(o.retry_queue);
  w.put(static_cast<std::int64_t>(o.duration.count()));
  w.put(o.peak_rss_kib);
  w.put(o.args_json);
  w.put(o.kwargs_json);
}

Outcome read_finished(std::string_view payload) {
  Reader r(payload);
  Outcome o;
  o.run = r.get<std::uint64_t>();
  o.kind = r.get<Outcome::Kind>();
  o.result_json = r.get<std::string>();
  o.traceback = r.get<std::string>();
  o.error_text = r.get<std::string>();
  o.error_type = r.get<std::string>();
  o.error_message = r.get<std::string>();
  o.error_module = r.get<std::string>();
  o.defect_code = r.get<std::string>();
  o.defect_detail = r.get<std::string>();
  for (auto left = r.get<std::uint32_t>(); left > 0; --left) {
    Envelope& envelope = o.follow_ups.emplace_back();
    envelope.route = r.get<Route>();
    envelope.message = r.get<Message>();
    envelope.priority = r.get<int>();
    envelope.not_before = r.maybe<TimePoint>();
    if (r.get<std::uint8_t>() != 0) envelope.asked_by.emplace();
  }
  o.children_json = r.get<std::string>();
  o.chord_json = r.get<std::string>();
  for (auto left = r.get<std::uint32_t>(); left > 0; --left) {
    Outcome::ChordSize& chord = o.chord_sizes.emplace_back();
    chord.group = r.get<std::string>();
    chord.size = static_cast<std::size_t>(r.get<std::uint64_t>());
  }
  for (auto left = r.get<std::uint32_t>(); left > 0; --left) {
    Outcome::NeverRun& step = o.never_run.emplace_back();
    step.id = r.get<std::string>();
    step.group = r.get<std::string>();
    step.index = r.maybe<std::int64_t>();
    step.chord_json = r.get<std::string>();
  }
  o.wait = r.maybe<Milliseconds>();
  o.eta = r.maybe<TimePoint>();
  o.retry_until = r.maybe<TimePoint>();
  o.retry_queue = r.get<std::string>();
  o.duration = std::chrono::nanoseconds{r.get<std::int64_t>()};
  o.peak_rss_kib = r.get<std::int64_t>();
  o.args_json = r.get<std::string>();
  o.kwargs_json = r.get<std::string>();
  return o;
}

void append_progress(std::string& out, const Progress& progress) {
  Writer w(out, Type::progress);
  w.put(progress.run);
  w.put(progress.state);
  w.put(progress.meta_json);
}
Progress read_progress(std::string_view payload) {
  Reader r(payload);
  Progress progress;
  progress.run = r.get<std::uint64_t>();
  progress.state = r.get<std::string>();
  progress.meta_json = r.get<std::string>();
  return progress;
}

void append_log(std::string& out, std::uint64_t run, std::string_view line) {
  Writer w(out, Type::log);
  w.put(run);
  w.put(line);
}
std::pair<std::uint64_t, std::string> read_log(std::string_view payload) {
  Reader r(payload);
  const auto run = r.get<std::uint64_t>();
  return {run, r.get<std::string>()};
}

void append_reclaimed(std::string& out, const std::vector<std::uint64_t>& runs) {
  Writer w(out, Type::reclaimed);
  w.put(static_cast<std::uint32_t>(runs.size()));
  for (const std::uint64_t run : runs) w.put(run);
}
std::vector<std::uint64_t> read_reclaimed(std::string_view payload) {
  Reader r(payload);
  std::vector<std::uint64_t> runs(r.get<std::uint32_t>());
  for (std::uint64_t& run : runs) run = r.get<std::uint64_t>();
  return runs;
}

std::optional<Frame> next_frame(std::string_view buffer, std::size_t& at) {
  std::uint32_t size = 0;
  if (buffer.size() - at < sizeof size) return std::nullopt;
  std::memcpy(&size, buffer.data() + at, sizeof size);
  if (size == 0 || size > kMaxFrame) {
    throw Error({.kind = ErrorKind::bug,
                 .operation = "pool.ipc",
                 .detail = "a frame of impossible size between supervisor and child"});
  }
  if (buffer.size() - at - sizeof size < size) return std::nullopt;
  Frame frame{static_cast<Type>(buffer[at + sizeof size]), buffer.substr(at + sizeof size + 1, size - 1)};
  at += sizeof size + size;
  return frame;
}

}  // namespace errand::pools::ipc
