#include "backends/redis/backend.hpp"

#include "backends/redis/scripts.gen.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/result_json.hpp"
#include "protocol/topic.hpp"
#include "wire/redis/settle_call.hpp"

#include <errand/error.hpp>

#include <utility>

namespace errand::redis {

namespace {

constexpr std::string_view kChordSeconds = "86400";  // Celery's
constexpr Milliseconds kLookEvery{10'000};           // while waiting: published messages can be lost with a connection

// A record that nobody can read is an answer, too, but not "no result".
TaskResult decode(TaskIdView id, std::string_view record) {
  try {
    TaskResult result = protocol::read_result(record);
    result.token = token_of_fence(record);
    if (result.id.empty()) result.id = id;
    return result;
  } catch (const protocol::DecodeFailure& failure) {
    // CP-28: a pickle is a program; it is named, never looked into.
    const bool pickled = !record.empty() && record.front() == '\x80';
    throw Error({.kind = ErrorKind::unsupported,
                 .operation = "redis.result",
                 .subject = std::string(id),
                 .detail = pickled ? "unsupported result: expected JSON, got a pickle, which is never decoded; set "
                                     "result_serializer = \"json\" where it was written"
                                   : "unsupported result: expected a record as Celery writes it: " + failure.line()});
  }
}

// Celery puts an underscore between prefix and key unless the prefix ends in a separator of its own.
std::string result_prefix(std::string prefix) {
  if (!prefix.empty() && std::string_view(":_-.").find(prefix.back()) == std::string_view::npos) prefix += '_';
  return prefix;
}

}  // namespace

std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options) {
  return std::make_unique<RedisBackend>(parse_url(url), options);
}

RedisBackend::RedisBackend(Url url, TransportOptions options)
    : options_(std::move(options)),
      prefix_(result_prefix(options_.key_prefix)),
      connection_(url, {.connect_timeout = options_.connect_timeout, .answer_timeout = options_.publish_timeout}),
      waiting_(
          std::move(url),
          {.connect_timeout = options_.connect_timeout, .answer_timeout = options_.publish_timeout, .resp3 = true}) {}

std::string RedisBackend::result_key(std::string_view task_id) const { return prefix_ + protocol::result_key(task_id); }
std::string RedisBackend::group_key(std::string_view group, std::string_view suffix) const {
  return prefix_ + protocol::group_key(group, suffix);
}
std::string RedisBackend::seconds_to_live() const {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(options_.result_expires).count());
}

BackendTraits RedisBackend::traits() const noexcept {
  BackendTraits traits;
  traits.name = "redis";
  traits.pushes = true;
  traits.chords = true;
  traits.foreign_readers = true;
  traits.max_result_bytes = 512u << 20;
  return traits;
}

void RedisBackend::put(std::span<const TaskResult> results) {
  SettleCall call;
  call.seconds_to_live = seconds_to_live();
  for (const TaskResult& result : results) {
    call.results.push_back({result_key(result.id), protocol::encode_result(result), result.token});
  }
  call.run(connection_, "redis.result");
}

std::optional<TaskResult> RedisBackend::get(TaskIdView id) {
  const Reply reply = connection_.call({"GET", result_key(id)});
  if (reply.is_nil()) return std::nullopt;
  return decode(id, reply.text);
}

// Hands what comes on the waiting connection to `take` until it says that this was all.
template <class Take>
void RedisBackend::take_until(Take take) {
  const Deadline deadline = Deadline::after(options_.publish_timeout);
  for (;;) {
    while (const auto reply = waiting_.arrived_or_pushed()) {
      if (reply->is_error()) waiting_.close();  // and whatever was asked behind it
      require(*reply, "redis.subscribe");
      if (take(*reply)) return;
    }
    if (!waiting_.wait(deadline, -1)) {
      waiting_.close();
      throw Error({.kind = ErrorKind::unavailable,
                   .operation = "redis.subscribe",
                   .subject = waiting_.url().address.text(),
                   .detail = "no answer in time",
                   .code = "ETIMEDOUT"});
    }
  }
}

// Subscribes, and then looks what is there, so that no result can come in between unseen. In one round trip where
// pushes may stand between answers; RESP2 allows no GET on a connection that has subscribed.
std::optional<TaskResult> RedisBackend::subscribe(TaskIdView id, const std::string& channel) {
  waiting_.connect();
  const bool together = waiting_.speaks_resp3();
  Commands commands;
  commands.add({"SUBSCRIBE", channel});
  if (together) commands.add({"GET", channel});
  waiting_.send(commands);
  std::optional<TaskResult> found;
  // The confirmation comes behind what was published on channels of earlier waits.
  take_until([&](const Reply& reply) {
    if (reply.kind == Reply::Kind::text) found = decode(id, reply.text);
    if (reply.kind == Reply::Kind::text || reply.is_nil()) return true;
    const bool confirmed = reply.elements.size() == 3 && reply.elements[0].text == "subscribe";
    return !together && confirmed && reply.elements[1].text == channel;
  });
  return together ? found : get(id);
}

void RedisBackend::unsubscribe(const std::string& channel) noexcept {
  if (!waiting_.connected()) return;
  try {
    Commands commands;
    commands.add({"UNSUBSCRIBE", channel});
    waiting_.send(commands);
  } catch (const Error&) {
    // The next wait connects again.
  }
}

// The newest record among what was published: its payload is what is stored.
std::optional<TaskResult> RedisBackend::published(const std::string& channel) {
  std::optional<TaskResult> newest;
  while (const auto reply = waiting_.arrived_or_pushed()) {
    if (reply->elements.size() != 3 || reply->elements[0].text != "message") continue;
    if (reply->elements[1].text == channel) newest = decode("", reply->elements[2].text);
  }
  return newest;
}

std::optional<TaskResult> RedisBackend::wait(TaskIdView id, Deadline deadline) {
  const std::string channel = result_key(id);
  const auto ready = [](const std::optional<TaskResult>& result) { return result && state::ready(result->state); };
  std::optional<TaskResult> found = subscribe(id, channel);
  SteadyPoint look_at = std::chrono::steady_clock::now() + kLookEvery;
  while (!ready(found) && !deadline.passed()) {
    try {
      waiting_.wait(deadline.earlier(Deadline::at(look_at)), -1);
      found = published(channel);
      if (ready(found) || look_at > std::chrono::steady_clock::now()) continue;
    } catch (const Error& broken) {
      if (!broken.retryable()) throw;
      found = subscribe(id, channel);  // which has looked
      look_at = std::chrono::steady_clock::now() + kLookEvery;
      continue;
    }
    found = get(id);
    look_at = std::chrono::steady_clock::now() + kLookEvery;
  }
  unsubscribe(channel);
  if (!ready(found)) return std::nullopt;
  return found;
}

void RedisBackend::forget(TaskIdView id) { connection_.call({"DEL", result_key(id)}); }

// Everything Celery stores it publishes as well, in one step.
void RedisBackend::store(const std::string& key, const std::string& value, const std::string& seconds) {
  Commands commands;
  commands.add({"MULTI"});
  if (seconds == "0") {
    commands.add({"SET", key, value});
  } else {
    commands.add({"SETEX", key, seconds, value});
  }
  commands.add({"PUBLISH", key, value});
  commands.add({"EXEC"});
  require_all(connection_.call(commands, Effect::repeatable), "redis.result");
}

void RedisBackend::put_group(GroupIdView group, std::span<const TaskId> members) {
  store(group_key(group), protocol::encode_group(group, members), seconds_to_live());
}

std::optional<std::vector<TaskId>> RedisBackend::get_group(GroupIdView group) {
  const Reply reply = connection_.call({"GET", group_key(group)});
  if (reply.is_nil()) return std::nullopt;
  try {
    return protocol::read_group(reply.text);
  } catch (const protocol::DecodeFailure& failure) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "redis.result",
                 .subject = std::string(group),
                 .detail = "expected a group as Celery saves it: " + failure.line()});
  }
}

ChordProgress RedisBackend::chord_part_done(GroupIdView group, const ChordPart& part) {
  const std::vector<std::string> keys{group_key(group, ".j"), group_key(group, ".t"), group_key(group, ".s"),
                                      group_key(group), group_key(group, ".done")};
  Commands commands;
  commands.eval(kChordScript, keys);
  commands.word(part.index ? std::to_string(*part.index) : "+inf").word(to_json(Value(part.id)));
  commands.word(protocol::encode_chord_part(part)).word(kChordSeconds);
  const Reply reply = connection_.eval(kChordScript, commands, "redis.chord", Effect::repeatable);
  ChordProgress progress;
  if (!reply.is_array() || reply.elements.empty()) return progress;
  progress.complete = true;
  for (std::size_t i = 1; i < reply.elements.size(); ++i) {
    ChordPart member = protocol::read_chord_part(reply.elements[i].text);
    if (member.state != state::success && progress.failed_member.empty()) {
      progress.failed_member = member.id;
      progress.failure_json = member.result_json;
    }
    progress.results.push_back(std::move(member.result_json));
  }
  const std::string& saved = reply.elements.front().text;
  if (!saved.empty() && progress.failed_member.empty()) results_of_members(saved, progress);
  return progress;
}

// A chord whose header holds groups was saved by its sender: the parts are then not its results, the members' are.
void RedisBackend::results_of_members(const std::string& saved_group, ChordProgress& progress) {
  const std::vector<TaskId> members = protocol::read_group(saved_group);
  if (members.empty()) return;
  Commands commands;
  commands.begin("MGET");
  for (const TaskId& member : members) commands.word(result_key(member));
  const Reply records = std::move(connection_.call(commands, Effect::repeatable).front());
  require(records, "redis.chord");
  progress.results.clear();
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Reply& record = records.elements.at(i);
    progress.results.push_back(record.is_nil() ? "null" : decode(members[i], record.text).result_json);
  }
}

void RedisBackend::set_chord_size(GroupIdView group, std::size_t size) {
  store(group_key(group, ".s"), std::to_string(size), std::string(kChordSeconds));
}

}  // namespace errand::redis
