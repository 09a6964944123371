#include "brokers/redis/consumer.hpp"

#include "brokers/redis/broker.hpp"
#include "brokers/redis/scripts.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"
#include "protocol/result_json.hpp"
#include "protocol/topic.hpp"
#include "wire/redis/store_user.hpp"

#include <algorithm>
#include <cstdlib>

namespace errand::redis {

namespace {
constexpr Milliseconds kRescueEvery{2'000};
constexpr std::string_view kRescueAtOnce = "200";

std::vector<std::string> all_lists(const Keys& keys, const std::vector<std::string>& queues) {
  std::vector<std::string> lists;
  for (const std::string& queue : queues) {
    for (std::string& list : keys.lists(queue)) lists.push_back(std::move(list));
  }
  return lists;
}
}  // namespace

RedisConsumer::RedisConsumer(Url url, TransportOptions transport, ConsumeOptions options)
    : url_(std::move(url)), transport_(std::move(transport)), options_(std::move(options)),
      keys_(transport_.key_prefix, transport_.priority_steps),
      connection_(url_, transport_.connect_timeout, transport_.publish_timeout),
      watch_(url_, transport_.connect_timeout, all_lists(keys_, options_.queues)) {
  if (options_.queues.empty()) {
    throw Error({.kind = ErrorKind::invalid, .operation = "redis.consume", .detail = "expected at least one queue, got none"});
  }
  connection_.call({"SET", keys_.owner(options_.owner), "1", "PX", heartbeat()});
}

// Gives back at once what it still holds: without a heartbeat the next rescue finds it.
RedisConsumer::~RedisConsumer() {
  try {
    if (!connection_.connected()) return;
    connection_.call({"DEL", keys_.owner(options_.owner)});
    rescue_cursor_ = "0";
    do {
      rescue();
    } while (rescue_cursor_ != "0");
  } catch (const Error&) {
    // The server is away; others find the missing heartbeat when it is back.
  }
}

// How long a silent owner counts as alive: the lease, since it is renewed at a third of it.
std::string RedisConsumer::heartbeat() const { return std::to_string(std::max<std::int64_t>(1'000, options_.lease.count())); }

std::span<Delivery> RedisConsumer::next(std::size_t max, Deadline deadline) {
  deliveries_.clear();
  if (max == 0) {
    watch_.wait_for_wake(deadline);
    watch_.take_wake();
    return {};
  }
  for (;;) {
    if (rescue_at_ <= std::chrono::steady_clock::now()) {
      rescue();
      rescue_at_ = std::chrono::steady_clock::now() + kRescueEvery;
    }
    fetch(max);
    if (!deliveries_.empty() || watch_.take_wake() || deadline.passed()) return deliveries_;
    Deadline until = deadline.earlier(Deadline::at(rescue_at_));
    if (due_at_) until = until.earlier(Deadline::at(*due_at_));
    watch_.wait(until);
    if (watch_.take_wake()) {
      fetch(max);
      return deliveries_;
    }
  }
}

void RedisConsumer::fetch(std::size_t max) {
  std::vector<std::string> keys{keys_.unacked(), keys_.unacked_index(), keys_.leases(), keys_.tokens(), keys_.rubbish(), keys_.owner(options_.owner)};
  std::vector<std::string> arguments{std::to_string(max), options_.owner, heartbeat(), std::to_string(options_.queues.size()),
                                     std::to_string(keys_.steps().size())};
  for (std::size_t i = 0; i < options_.queues.size(); ++i) {
    const std::string& queue = options_.queues[(rotation_ + i) % options_.queues.size()];
    keys.push_back(keys_.parked(queue));
    for (std::string& list : keys_.lists(queue)) keys.push_back(std::move(list));
    arguments.push_back(queue);
  }
  Reply reply = connection_.eval(fetch_script(), keys, arguments);
  std::vector<Reply>& out = reply.elements;
  if (out.size() < 2) return;
  due_at_.reset();
  if (!out[1].text.empty()) {
    const double wait = std::strtod(out[1].text.c_str(), nullptr) - std::strtod(out[0].text.c_str(), nullptr);
    const auto bounded = std::chrono::duration<double>(std::clamp(wait, 0.0, 3'600.0));
    due_at_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<SteadyPoint::duration>(bounded);
  }
  for (std::size_t i = 2; i + 3 < out.size(); i += 4) {
    Delivery& delivery = deliveries_.emplace_back();
    const auto number = static_cast<std::size_t>(std::strtoul(out[i + 2].text.c_str(), nullptr, 10));
    delivery.receipt = {std::move(out[i].text), std::strtoull(out[i + 1].text.c_str(), nullptr, 10),
                        options_.queues[(rotation_ + number) % options_.queues.size()]};
    decode(delivery, std::move(out[i + 3].text));
  }
  if (!deliveries_.empty()) rotation_ = (rotation_ + 1) % options_.queues.size();
}

void RedisConsumer::decode(Delivery& delivery, std::string envelope) {
  try {
    protocol::StoredMessage stored = protocol::read_envelope(envelope);
    delivery.message = std::move(stored.message);
    delivery.message.headers.erase("redelivered");
    delivery.route = std::move(stored.route);
    delivery.redelivered = stored.redelivered;
    delivery.deliveries = stored.redelivered ? 2 : 1;  // kombu marks a redelivery but does not count them
  } catch (const protocol::DecodeFailure& failure) {
    delivery.defect = failure.line();
    delivery.raw = std::move(envelope);
  }
}

void RedisConsumer::rescue() {
  const std::vector<std::string> keys{keys_.unacked(), keys_.unacked_index(), keys_.leases(), keys_.rubbish()};
  const std::vector<std::string> arguments{keys_.owner_prefix(), std::string(kRescueAtOnce), rescue_cursor_};
  const Reply reply = connection_.eval(rescue_script(), keys, arguments);
  rescue_cursor_ = reply.elements.size() == 2 ? reply.elements[1].text : "0";
}

std::vector<std::string> RedisConsumer::settle_keys() const {
  return {keys_.unacked(), keys_.unacked_index(), keys_.leases(), keys_.rubbish()};
}

void RedisConsumer::append_settlements(std::vector<std::string>& words, std::span<const Settlement> settlements) const {
  words.push_back(std::to_string(settlements.size()));
  const double now = to_unix_seconds(std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()));
  for (const Settlement& settlement : settlements) {
    words.push_back(settlement.receipt.id);
    words.push_back(std::to_string(settlement.receipt.token));
    std::string a, b, c;
    switch (settlement.kind) {
      case Settlement::Kind::ack: words.emplace_back("ack"); break;
      case Settlement::Kind::requeue: words.emplace_back("requeue"); break;
      case Settlement::Kind::park:
        words.emplace_back("park");
        a = score_text(settlement.not_before);
        b = keys_.parked(settlement.receipt.queue);
        break;
      case Settlement::Kind::dead_letter:
        words.emplace_back("dead");
        a = keys_.dead(settlement.receipt.queue);
        b = keys_.dead_index(settlement.receipt.queue);
        c = to_json(Value::object({{"reason", settlement.reason}, {"detail", settlement.detail}, {"deliveries", 1}, {"last_seen", now}}));
        break;
    }
    words.push_back(std::move(a));
    words.push_back(std::move(b));
    words.push_back(std::move(c));
  }
}

void RedisConsumer::run_settle(std::vector<std::string> words) {
  stale_ += static_cast<std::size_t>(connection_.eval(settle_script(), settle_keys(), words).integer);
}

void RedisConsumer::settle(std::span<const Settlement> settlements) {
  if (settlements.empty()) return;
  std::vector<std::string> words{"0"};
  append_settlements(words, settlements);
  words.emplace_back("0");
  run_settle(std::move(words));
}

bool RedisConsumer::commit(const Commit& commit, ResultBackend* results_in) {
  const auto* user = dynamic_cast<const StoreUser*>(results_in);
  if (!commit.results.empty() && (user == nullptr || !user->same_store(url_))) return false;
  // Only what goes to queues by name: bindings of other exchanges have to be read first.
  for (const Envelope& envelope : commit.follow_ups) {
    if (!envelope.route.exchange.empty()) return false;
  }
  std::vector<std::string> words{std::to_string(commit.follow_ups.size())};
  for (const Envelope& envelope : commit.follow_ups) {
    check_queue_name(envelope.route.routing_key);
    check_size(envelope, transport_.max_message_bytes);
    append_follow_up(words, keys_, envelope, envelope.route.routing_key);
  }
  append_settlements(words, commit.settlements);
  words.push_back(std::to_string(commit.results.size()));
  constexpr std::uint64_t kDeliveryBits = (std::uint64_t{1} << 40) - 1;
  for (const TaskResult& result : commit.results) {
    const std::uint64_t token = result.token & kDeliveryBits;
    words.push_back(token == 0 ? std::string() : std::to_string(token));
    words.push_back(user->result_key(result.id));
    words.push_back(user->seconds_to_live());
    words.push_back(protocol::encode_result(result));
  }
  run_settle(std::move(words));
  return true;
}

void RedisConsumer::extend(std::span<const Receipt> receipts, Milliseconds) {
  std::vector<std::string> words{heartbeat()};
  for (const Receipt& receipt : receipts) {
    words.push_back(receipt.id);
    words.push_back(std::to_string(receipt.token));
  }
  const std::vector<std::string> keys{keys_.unacked_index(), keys_.leases(), keys_.owner(options_.owner)};
  stale_ += static_cast<std::size_t>(connection_.eval(extend_script(), keys, words).integer);
}

}  // namespace errand::redis
