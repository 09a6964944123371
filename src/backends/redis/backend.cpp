#include "backends/redis/backend.hpp"

#include "protocol/decode_failure.hpp"
#include "protocol/result_json.hpp"
#include "protocol/topic.hpp"

#include <poll.h>

namespace errand::redis {

namespace {

// KEYS: result keys. ARGV: seconds to live, then the JSON of each. A stored SUCCESS stays.
const Script& put_script() {
  static const Script script(R"lua(
for i = 1, #KEYS do
  local old = redis.call('GET', KEYS[i])
  if not old or string.sub(old, 1, 20) ~= '{"status": "SUCCESS"' then
    if ARGV[1] == '0' then redis.call('SET', KEYS[i], ARGV[i + 1]) else redis.call('SETEX', KEYS[i], ARGV[1], ARGV[i + 1]) end
    redis.call('PUBLISH', KEYS[i], ARGV[i + 1])
  end
end
return #KEYS
)lua");
  return script;
}

// Books one member in kombu's layout and takes the chord when it is complete, in one step, so that two members that
// end together cannot both find it complete. A member that is booked already, with whatever result, counts once.
// KEYS: .j, .t, .s. ARGV: score, member id in quotes, entry, seconds to live. Returns the entries in order, or nothing.
const Script& chord_script() {
  static const Script script(R"lua(
local known = false
local head = '[1, ' .. ARGV[2] .. ','
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])) do
  if string.sub(entry, 1, #head) == head then known = true end
end
if not known then redis.call('ZADD', KEYS[1], ARGV[1], ARGV[3]) end
local size = redis.call('GET', KEYS[3])
if not size then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  return false
end
local extra = redis.call('GET', KEYS[2]) or '0'
if redis.call('ZCARD', KEYS[1]) < tonumber(size) + tonumber(extra) then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
  return false
end
local all = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, entry in ipairs(all) do
  -- A failed chord's keys stay until they expire, as Celery leaves them; without the size nobody finds it complete again.
  if not string.find(entry, '^%[1, "[^"]*", "SUCCESS"') then
    redis.call('DEL', KEYS[3])
    return all
  end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return all
)lua");
  return script;
}

constexpr std::string_view kChordSeconds = "86400";

}  // namespace

std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options) {
  return std::make_unique<RedisBackend>(parse_url(url), options);
}

RedisBackend::RedisBackend(Url url, TransportOptions options)
    : url_(std::move(url)), options_(std::move(options)), connection_(url_, options_.connect_timeout, options_.publish_timeout),
      waiting_(url_, options_.connect_timeout, options_.publish_timeout) {}

bool RedisBackend::same_store(const Url& url) const noexcept {
  return url.address.text() == url_.address.text() && url.database == url_.database;
}

std::string RedisBackend::result_key(std::string_view task_id) const { return options_.key_prefix + protocol::result_key(task_id); }
std::string RedisBackend::group_key(std::string_view group, std::string_view suffix) const {
  return options_.key_prefix + protocol::group_key(group, suffix);
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
  if (results.empty()) return;
  std::vector<std::string> keys;
  std::vector<std::string> arguments{seconds_to_live()};
  for (const TaskResult& result : results) {
    keys.push_back(result_key(result.id));
    arguments.push_back(protocol::encode_result(result));
  }
  connection_.eval(put_script(), keys, arguments);
}

std::optional<TaskResult> RedisBackend::read(TaskIdView id, Connection& connection) {
  const Reply reply = connection.call({"GET", result_key(id)});
  if (reply.is_nil()) return std::nullopt;
  return protocol::read_result(reply.text);
}

std::optional<TaskResult> RedisBackend::get(TaskIdView id) { return read(id, connection_); }

// Subscribes before it looks, so that no result can come in between unseen.
std::optional<TaskResult> RedisBackend::wait(TaskIdView id, Deadline deadline) {
  const std::string channel = result_key(id);
  bool look = true;
  const auto subscribe = [&] {
    waiting_.call({"SUBSCRIBE", channel});
    look = true;
  };
  subscribe();
  std::optional<TaskResult> found;
  for (;;) {
    if (look) {
      found = read(id, connection_);
      look = false;
      if (found && state::ready(found->state)) break;
      found.reset();
    }
    if (deadline.passed()) break;
    pollfd ready{waiting_.fd(), POLLIN, 0};
    poll(&ready, 1, deadline.poll_timeout());
    try {
      while (const auto reply = waiting_.poll_reply()) look = look || (!reply->elements.empty() && reply->elements[0].text == "message");
    } catch (const Error&) {
      subscribe();  // the connection broke; the result may have come meanwhile
    }
  }
  if (waiting_.connected()) {
    // Later messages of this channel must not be taken for answers: a fresh connection is cheaper than sorting them out.
    waiting_.close();
  }
  return found;
}

void RedisBackend::forget(TaskIdView id) { connection_.call({"DEL", result_key(id)}); }

void RedisBackend::put_group(GroupIdView group, std::span<const TaskId> members) {
  const std::string record = protocol::encode_group(group, members);
  const std::string seconds = seconds_to_live();
  if (seconds == "0") connection_.call({"SET", group_key(group), record});
  else connection_.call({"SETEX", group_key(group), seconds, record});
}

std::optional<std::vector<TaskId>> RedisBackend::get_group(GroupIdView group) {
  const Reply reply = connection_.call({"GET", group_key(group)});
  if (reply.is_nil()) return std::nullopt;
  return protocol::read_group(reply.text);
}

ChordProgress RedisBackend::chord_part_done(GroupIdView group, const ChordPart& part) {
  const std::vector<std::string> keys{group_key(group, ".j"), group_key(group, ".t"), group_key(group, ".s")};
  const std::vector<std::string> arguments{part.index ? std::to_string(*part.index) : "+inf", to_json(Value(part.id)),
                                           protocol::encode_chord_part(part), std::string(kChordSeconds)};
  const Reply reply = connection_.eval(chord_script(), keys, arguments);
  ChordProgress progress;
  if (reply.kind != Reply::Kind::array) return progress;
  progress.complete = true;
  for (const Reply& entry : reply.elements) {
    ChordPart member = protocol::read_chord_part(entry.text);
    if (member.state != state::success && progress.failed_member.empty()) {
      progress.failed_member = member.id;
      progress.failure_json = member.result_json;
    }
    progress.results.push_back(std::move(member.result_json));
  }
  return progress;
}

void RedisBackend::set_chord_size(GroupIdView group, std::size_t size) {
  connection_.call({"SETEX", group_key(group, ".s"), kChordSeconds, std::to_string(size)});
}

}  // namespace errand::redis
