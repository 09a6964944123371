#include "brokers/redis/broker.hpp"

#include "brokers/redis/consumer.hpp"
#include "brokers/redis/dead_letters.hpp"
#include "brokers/redis/outgoing.hpp"
#include "brokers/redis/scripts.gen.hpp"
#include "brokers/redis/subscriber.hpp"
#include "core/failpoint.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "core/uuid.hpp"
#include "protocol/envelope.hpp"
#include "protocol/topic.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace errand::redis {

namespace {

// One LPUSH takes many values at a third of the cost of many LPUSHes; beyond this it only delays other clients.
constexpr std::size_t kValuesPerPush = 256;
constexpr std::size_t kBytesPerPush = 4u << 20;
constexpr std::size_t kMostScans = 10'000;

// Writes of one batch as few commands: those to one key go together, in their order.
void append_writes(Commands& commands, std::span<const Write> writes) {
  std::map<std::string_view, std::vector<const Write*>> by_key;
  for (const Write& write : writes) by_key[write.key].push_back(&write);
  for (const auto& [key, all] : by_key) {
    const bool scored = all.front()->kind == Write::Kind::add_scored;
    std::size_t values = 0, bytes = 0;
    for (const Write* write : all) {
      if (values == 0 || values == kValuesPerPush || bytes > kBytesPerPush) {
        commands.begin(scored ? "ZADD" : "LPUSH").word(key);
        values = bytes = 0;
      }
      if (scored) commands.word(write->score_or_field);
      commands.word(write->value);
      values += 1;
      bytes += write->value.size();
    }
  }
}

// Characters with a meaning in SCAN's patterns, taken literally.
std::string glob_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '*' || c == '?' || c == '[' || c == ']' || c == '\\' || c == '^') out += '\\';
    out += c;
  }
  return out;
}

// Queues that live as long as a connection of remote control or events: they hold no tasks.
bool is_passing(std::string_view queue) { return queue.ends_with(".celery.pidbox") || queue.starts_with("celeryev."); }

}  // namespace

std::unique_ptr<Broker> make_broker(std::string_view url, const TransportOptions& options) {
  return std::make_unique<RedisBroker>(parse_url(url), options);
}

RedisBroker::RedisBroker(Url url, TransportOptions options)
    : url_(std::move(url)),
      options_(std::move(options)),
      keys_(options_.key_prefix, options_.priority_steps),
      connection_(url_, {.connect_timeout = std::min(options_.connect_timeout, options_.publish_timeout),
                         .answer_timeout = options_.publish_timeout}) {}

BrokerTraits RedisBroker::traits() const noexcept {
  BrokerTraits traits;
  traits.name = "redis";
  traits.durable = false;  // that depends on the server's persistence
  traits.priorities = true;
  traits.low_is_urgent = true;
  traits.fanout = true;
  traits.shared = true;
  traits.foreign_readers = true;
  traits.lease = options_.visibility_timeout;
  traits.keeps_revokes = true;
  traits.max_message_bytes = options_.max_message_bytes;
  traits.max_dead_letters = options_.max_dead_letters;
  return traits;
}

void RedisBroker::declare(const Topology& topology) {
  Commands commands;
  std::vector<std::string> bindings;
  for (const QueueSpec& queue : topology.queues) {
    check_queue_name(queue.name);
    const std::string& exchange = queue.exchange.empty() ? queue.name : queue.exchange;
    protocol::Binding binding{queue.routing_key.empty() ? queue.name : queue.routing_key, "", queue.name};
    if (queue.exchange_type == "topic") binding.pattern = protocol::topic_pattern(binding.routing_key);
    if (queue.exchange_type == "fanout") binding.routing_key.clear();
    const std::string member = protocol::format_binding(binding);
    commands.begin("SADD").word(keys_.binding(exchange)).word(member);
    commands.begin("SADD").word(keys_.queues()).word(queue.name);
    bindings.push_back(exchange + "\n" + member);
  }
  const std::vector<Reply> replies = connection_.call(commands, Effect::repeatable);
  require_all(replies, "redis.declare");
  for (std::size_t i = 0; i < bindings.size(); ++i) {
    const bool known = !declared_.insert(bindings[i]).second;
    if (!known || replies[2 * i].integer == 0) continue;
    log::limited(log::Level::warning, "redis.state",
                 "the server had lost bindings that were declared before; they are there again, but what else it held "
                 "may be gone: was it restarted without persistence or flushed, or does it evict keys?",
                 {{"server", url_.address.text()}, {"queue", topology.queues[i].name}});
  }
}

void RedisBroker::publish(std::span<const Envelope> envelopes) {
  if (envelopes.empty()) return;
  check_sizes(envelopes, options_.max_message_bytes);
  const std::vector<Write> writes = writes_of(envelopes, keys_, connection_);
  Commands pushes;
  append_writes(pushes, writes);
  Commands commands;
  const bool several = pushes.count() > 1;
  if (several) {
    commands.add({"MULTI"});
    append_writes(commands, writes);
    commands.add({"EXEC"});
  }
  ERRAND_FAILPOINT_DURING("pub.after_send");
  require_all(connection_.call(several ? commands : pushes, Effect::changes), "redis.publish");
}

std::unique_ptr<Consumer> RedisBroker::consume(const ConsumeOptions& options) {
  return std::make_unique<RedisConsumer>(url_, options_, options);
}

std::unique_ptr<Consumer> RedisBroker::subscribe(const Route& pattern) {
  return std::make_unique<RedisSubscriber>(url_, keys_.pattern(url_.database, pattern.exchange, pattern.routing_key),
                                           options_);
}

void RedisBroker::broadcast(const Envelope& envelope) {
  check_sizes({&envelope, 1}, options_.max_message_bytes);
  connection_.call({"PUBLISH", keys_.channel(url_.database, envelope.route.exchange, envelope.route.routing_key),
                    protocol::encode_envelope(envelope, core::uuid4())},
                   Effect::changes);
}

QueueInfo RedisBroker::inspect(std::string_view queue) {
  QueueInfo info;
  info.name = queue;
  const std::vector<std::string> lists = keys_.lists(queue);
  Commands commands;
  for (const std::string& list : lists) commands.begin("LLEN").word(list);
  commands.begin("ZCARD").word(keys_.parked(queue));
  commands.begin("HLEN").word(keys_.dead(queue));
  const std::vector<Reply> replies = connection_.call(commands, Effect::repeatable);
  require_all(replies, "redis.inspect");
  for (std::size_t i = 0; i < lists.size(); ++i) info.ready += static_cast<std::size_t>(replies[i].integer);
  info.parked = static_cast<std::size_t>(replies[lists.size()].integer);
  info.dead = static_cast<std::size_t>(replies[lists.size() + 1].integer);
  Commands count;
  const std::vector<std::string> keys{keys_.leases()};
  count.eval(kCountLeasesScript, keys);
  for (const std::string& list : lists) count.word(list);
  info.leased = static_cast<std::size_t>(
      connection_.eval(kCountLeasesScript, count, "redis.inspect", Effect::repeatable).integer);
  return info;
}

// Those Errand declared, and those bound by anybody: kombu keeps no list of queues, only its sets of bindings.
std::vector<std::string> RedisBroker::queues() {
  std::set<std::string> names;
  for (const Reply& name : connection_.call({"SMEMBERS", keys_.queues()}).elements) names.insert(name.text);
  const std::string pattern = glob_escaped(keys_.binding("")) + "*";
  std::string cursor = "0";
  for (std::size_t scans = 0; scans < kMostScans; ++scans) {
    const Reply found = connection_.call({"SCAN", cursor, "MATCH", pattern, "COUNT", "1000", "TYPE", "set"});
    Commands commands;
    for (const Reply& key : found.elements.at(1).elements) commands.begin("SMEMBERS").word(key.text);
    for (const Reply& members : connection_.call(commands, Effect::repeatable)) {
      for (const Reply& member : members.elements) {
        const auto binding = protocol::parse_binding(member.text);
        if (binding && !is_passing(binding->queue)) names.insert(binding->queue);
      }
    }
    cursor = found.elements.at(0).text;
    if (cursor == "0") break;
  }
  return {names.begin(), names.end()};
}

std::size_t RedisBroker::purge(std::string_view queue) {
  const std::vector<std::string> lists = keys_.lists(queue);
  Commands commands;
  commands.add({"MULTI"});
  for (const std::string& list : lists) commands.begin("LLEN").word(list);
  commands.begin("ZCARD").word(keys_.parked(queue));
  commands.begin("DEL");
  for (const std::string& list : lists) commands.word(list);
  commands.word(keys_.parked(queue));
  commands.add({"EXEC"});
  const std::vector<Reply> replies = connection_.call(commands, Effect::changes);
  require_all(replies, "redis.purge");
  std::size_t purged = 0;
  for (std::size_t i = 0; i <= lists.size(); ++i) {
    purged += static_cast<std::size_t>(replies.back().elements.at(i).integer);
  }
  return purged;
}

void RedisBroker::revoke(std::span<const TaskId> ids) {
  if (ids.empty()) return;
  const std::vector<std::string> keys{keys_.revoked()};
  Commands commands;
  commands.eval(kRevokeScript, keys).word(options_.revoke_expires.count()).word(kMostRevoked);
  for (const TaskId& id : ids) commands.word(id);
  connection_.eval(kRevokeScript, commands, "redis.revoke", Effect::repeatable);
}

// Ids are the tokens of the deliveries that ended here, which is also their order.
std::vector<DeadLetter> RedisBroker::dead_letters(std::string_view queue, std::size_t limit, std::string_view after) {
  std::vector<DeadLetter> letters;
  if (!after.empty() && !core::parse_number(after, UINT64_MAX)) return letters;
  const std::string from = after.empty() ? "-inf" : "(" + std::string(after);
  const Reply ids = connection_.call({"ZRANGEBYSCORE", keys_.dead_index(queue), from, "+inf", "LIMIT", "0",
                                      std::to_string(std::min<std::size_t>(limit, INT64_MAX))});
  if (ids.elements.empty()) return letters;
  Commands commands;
  for (const Reply& id : ids.elements) commands.begin("HGET").word(keys_.dead(queue)).word(id.text);
  const std::vector<Reply> records = connection_.call(commands, Effect::repeatable);
  require_all(records, "redis.dead");
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (!records[i].is_nil()) letters.push_back(decode_dead(queue, ids.elements[i].text, records[i].text));
  }
  return letters;
}

std::size_t RedisBroker::take_dead(std::string_view what, std::string_view queue, std::span<const std::string> ids) {
  if (ids.empty()) return 0;
  const std::vector<std::string> keys{keys_.dead(queue), keys_.dead_index(queue)};
  Commands commands;
  commands.eval(kTakeDeadScript, keys).word(what);
  for (const std::string& id : ids) commands.word(id);
  return static_cast<std::size_t>(connection_.eval(kTakeDeadScript, commands, "redis.dead", Effect::changes).integer);
}

std::size_t RedisBroker::requeue_dead(std::string_view queue, std::span<const std::string> ids) {
  return take_dead("requeue", queue, ids);
}
std::size_t RedisBroker::drop_dead(std::string_view queue, std::span<const std::string> ids) {
  return take_dead("drop", queue, ids);
}

}  // namespace errand::redis
