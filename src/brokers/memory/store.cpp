#include "brokers/memory/store.hpp"

#include "core/text.hpp"
#include "protocol/topic.hpp"

#include <errand/error.hpp>

#include <poll.h>
#include <algorithm>
#include <iterator>

namespace errand::memory {

namespace {

constexpr std::chrono::seconds kLookAgain{1};  // also without news: the wall clock may have been set

TimePoint wall_now() { return std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()); }

}  // namespace

void check_queue_name(std::string_view name) {
  const bool controls =
      std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (!name.empty() && name.size() <= 255 && !controls) return;
  throw Error({.kind = ErrorKind::invalid,
               .operation = "memory.queue",
               .subject = core::shorten(core::escape_controls(name), 80),
               .detail = "expected a queue name of 1 to 255 bytes without control characters"});
}

void Listener::wait(Deadline deadline) noexcept {
  pollfd waits[2] = {{woken.fd(), POLLIN, 0}, {news.fd(), POLLIN, 0}};
  poll(waits, 2, deadline.poll_timeout());
}

void Listener::wait_for_wake(Deadline deadline) noexcept {
  pollfd waits{woken.fd(), POLLIN, 0};
  poll(&waits, 1, deadline.poll_timeout());
}

std::shared_ptr<Store> Store::named(std::string_view name) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<Store>, std::less<>> stores;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Store>& store = stores[std::string(name)];
  if (!store) store = std::make_shared<Store>();
  return store;
}

void Store::declare(const Topology& topology) {
  for (const QueueSpec& spec : topology.queues) check_queue_name(spec.name);
  const std::lock_guard lock(mutex_);
  for (const QueueSpec& spec : topology.queues) {
    Binding binding{spec.exchange.empty() ? spec.name : spec.exchange, spec.exchange_type,
                    spec.routing_key.empty() ? spec.name : spec.routing_key, spec.name};
    for (const Binding& known : bindings_) {
      if (known.exchange != binding.exchange || known.type == binding.type) continue;
      throw Error({.kind = ErrorKind::conflict,
                   .operation = "memory.declare",
                   .subject = spec.name,
                   .detail = "expected exchange '" + binding.exchange + "' of type " + known.type +
                             " as it was declared, got " + binding.type});
    }
    queues_.try_emplace(spec.name);
    if (std::find(bindings_.begin(), bindings_.end(), binding) == bindings_.end())
      bindings_.push_back(std::move(binding));
  }
}

std::vector<std::string> Store::targets(const Route& route) const {
  if (route.exchange.empty()) {
    check_queue_name(route.routing_key);
    return {route.routing_key};
  }
  std::vector<std::string> names;
  for (const Binding& binding : bindings_) {
    if (binding.exchange != route.exchange || std::find(names.begin(), names.end(), binding.queue) != names.end())
      continue;
    const protocol::Binding as_kombu{binding.key, protocol::topic_pattern(binding.key), binding.queue};
    if (protocol::binding_matches(binding.type, as_kombu, route.routing_key)) names.push_back(binding.queue);
  }
  if (names.empty()) {
    throw Error({.kind = ErrorKind::not_found,
                 .operation = "memory.publish",
                 .subject = route.exchange,
                 .detail = "no queue is bound for routing key '" + core::escape_controls(route.routing_key) +
                           "'; declare the queue or send to one by name"});
  }
  return names;
}

void Store::publish(std::span<const Envelope> envelopes, std::size_t max_message_bytes) {
  std::size_t bytes = 0;
  for (const Envelope& envelope : envelopes) {
    bytes += envelope.message.body.size() + kPerMessage;
    if (envelope.message.body.size() <= max_message_bytes) continue;
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "memory.publish",
                 .subject = envelope.route.routing_key,
                 .detail = "expected a message of at most " + std::to_string(max_message_bytes) +
                           " bytes (limit max_message_bytes), got " + std::to_string(envelope.message.body.size()) +
                           "; pass a reference to the data instead"});
  }
  const std::lock_guard lock(mutex_);
  if (bytes_ + bytes > kMostBytes) {
    throw Error({.kind = ErrorKind::overloaded,
                 .operation = "memory.publish",
                 .detail = "expected at most " + std::to_string(kMostBytes) +
                           " bytes of messages in memory; nothing was sent. Let consumers catch up"});
  }
  std::vector<std::vector<std::string>>
      names;  // all of them before the first is sent: a batch goes whole or not at all
  for (const Envelope& envelope : envelopes) names.push_back(targets(envelope.route));
  const TimePoint now = wall_now();
  for (std::size_t i = 0; i < envelopes.size(); ++i) {
    const Envelope& envelope = envelopes[i];
    for (const std::string& queue : names[i]) {
      Item item;
      item.number = ++last_number_;
      item.queue = queue;
      item.urgency = 9 - std::clamp(envelope.priority, 0, 9);
      item.message = envelope.message;
      item.route = envelope.route;
      item.sent = now;
      item.bytes = envelope.message.body.size() + kPerMessage;
      bytes_ += item.bytes;
      if (envelope.not_before && *envelope.not_before > now)
        put_parked(std::move(item), *envelope.not_before);
      else
        put_ready(std::move(item));
    }
  }
}

void Store::put_ready(Item item) {
  const std::string queue = item.queue;
  const std::pair key{item.urgency, item.number};
  queues_[queue].ready.emplace(key, std::move(item));
  tell(queue);
}

void Store::put_parked(Item item, TimePoint due) {
  const std::string queue = item.queue;
  queues_[queue].parked.emplace(due, std::move(item));
  tell(queue);  // they may have to wake earlier than they thought
}

void Store::tell(const std::string& queue) {
  for (auto& [holder, consumer] : consumers_) {
    if (consumer.queues.count(queue) != 0) consumer.listener->news.signal();
  }
}

QueueInfo Store::inspect(std::string_view name) {
  const std::lock_guard lock(mutex_);
  give_back_expired(std::chrono::steady_clock::now());
  QueueInfo info;
  info.name = std::string(name);
  const auto found = queues_.find(name);
  if (found == queues_.end()) return info;
  Queue& queue = found->second;
  const TimePoint now = wall_now();
  give_back_due(queue, now);
  info.ready = queue.ready.size();
  info.parked = queue.parked.size();
  info.dead = queue.dead.size();
  for (const auto& [number, lease] : leases_) info.leased += lease.item.queue == name ? 1 : 0;
  std::optional<TimePoint> oldest;
  for (const auto& [key, item] : queue.ready) oldest = oldest ? std::min(*oldest, item.sent) : item.sent;
  if (oldest) info.oldest = std::max(Milliseconds{0}, std::chrono::duration_cast<Milliseconds>(now - *oldest));
  return info;
}

std::vector<std::string> Store::queues() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, queue] : queues_) names.push_back(name);
  return names;
}

std::size_t Store::purge(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(name);
  if (found == queues_.end()) return 0;
  Queue& queue = found->second;
  const std::size_t count = queue.ready.size() + queue.parked.size();
  for (const auto& [key, item] : queue.ready) forget(item);
  for (const auto& [due, item] : queue.parked) forget(item);
  queue.ready.clear();
  queue.parked.clear();
  return count;
}

std::uint64_t Store::add_consumer(const std::vector<std::string>& queues, std::shared_ptr<Listener> listener) {
  const std::lock_guard lock(mutex_);
  consumers_.emplace(++last_holder_, ConsumerEntry{{queues.begin(), queues.end()}, std::move(listener)});
  return last_holder_;
}

void Store::remove_consumer(std::uint64_t holder) {
  const std::lock_guard lock(mutex_);
  consumers_.erase(holder);
  for (auto it = leases_.begin(); it != leases_.end();) {
    if (it->second.holder != holder) {
      ++it;
      continue;
    }
    Item item = std::move(it->second.item);
    it = leases_.erase(it);
    put_ready(std::move(item));
  }
}

void Store::give_back_expired(SteadyPoint now) {
  for (auto it = leases_.begin(); it != leases_.end();) {
    if (it->second.until > now) {
      ++it;
      continue;
    }
    Item item = std::move(it->second.item);
    it = leases_.erase(it);
    put_ready(std::move(item));
  }
}

void Store::give_back_due(Queue& queue, TimePoint now) {
  while (!queue.parked.empty() && queue.parked.begin()->first <= now) {
    auto parked = queue.parked.extract(queue.parked.begin());
    const std::pair key{parked.mapped().urgency, parked.mapped().number};
    queue.ready.emplace(key, std::move(parked.mapped()));
  }
}

SteadyPoint Store::claim(std::uint64_t holder, std::span<const std::string> queues, std::size_t max, Milliseconds lease,
                         std::vector<Delivery>& out) {
  const std::lock_guard lock(mutex_);
  const SteadyPoint now = std::chrono::steady_clock::now();
  const TimePoint wall = wall_now();
  SteadyPoint look_again = now + kLookAgain;
  give_back_expired(now);
  for (const auto& [number, held] : leases_) look_again = std::min(look_again, held.until);
  for (const std::string& name : queues) {
    Queue& queue = queues_[name];
    give_back_due(queue, wall);
    if (!queue.parked.empty()) {
      look_again = std::min(look_again, now + std::chrono::ceil<Milliseconds>(queue.parked.begin()->first - wall));
    }
    while (out.size() < max && !queue.ready.empty()) {
      Item item = std::move(queue.ready.extract(queue.ready.begin()).mapped());
      item.deliveries += 1;
      Delivery& delivery = out.emplace_back();
      delivery.receipt = {std::to_string(item.number), ++last_token_, name};
      delivery.message = item.message;
      delivery.route = item.route;
      delivery.deliveries = item.deliveries;
      delivery.redelivered = item.deliveries > 1;
      delivery.life_token = item.life_token;
      const std::uint64_t number = item.number;
      leases_.emplace(number, Lease{std::move(item), last_token_, holder, now + lease});
    }
  }
  return look_again;
}

std::optional<std::uint64_t> Store::number_of(std::string_view id) { return core::parse_number(id, INT64_MAX); }

Store::Lease* Store::held(const Receipt& receipt) {
  const auto number = number_of(receipt.id);
  const auto found = number ? leases_.find(*number) : leases_.end();
  return found == leases_.end() || found->second.token != receipt.token ? nullptr : &found->second;
}

std::vector<std::uint32_t> Store::late(std::span<const Settlement> settlements) {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> late;
  for (std::uint32_t place = 0; place < settlements.size(); ++place) {
    if (held(settlements[place].receipt) == nullptr) late.push_back(place);
  }
  return late;
}

std::vector<std::uint32_t> Store::settle(std::span<const Settlement> settlements, std::size_t max_dead_letters) {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> late;
  for (std::uint32_t place = 0; place < settlements.size(); ++place) {
    const Settlement& settlement = settlements[place];
    Lease* lease = held(settlement.receipt);
    if (lease == nullptr) {
      late.push_back(place);
      continue;
    }
    Item item = std::move(lease->item);
    leases_.erase(item.number);
    switch (settlement.kind) {
      case Settlement::Kind::ack:
        forget(item);
        break;
      case Settlement::Kind::requeue:
        item.deliveries = std::max(1u, item.deliveries - 1);  // does not count, but the next one is a redelivery
        put_ready(std::move(item));
        break;
      case Settlement::Kind::park:
        if (!settlement.begun) item.deliveries -= std::min(item.deliveries, 1u);
        put_parked(std::move(item), settlement.not_before);
        break;
      case Settlement::Kind::dead_letter: {
        const std::string queue = item.queue;
        if (queues_[queue].dead.size() >= max_dead_letters) {
          item.deliveries -= std::min(item.deliveries, 1u);
          put_parked(std::move(item), wall_now() + kFullDeadWait);
          break;
        }
        queues_[queue].dead.emplace(++last_dead_,
                                    Dead{std::move(item), settlement.reason, settlement.detail, wall_now()});
        break;
      }
    }
  }
  return late;
}

std::vector<std::uint32_t> Store::extend(std::span<const Receipt> receipts, Milliseconds lease) {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> late;
  for (std::uint32_t place = 0; place < receipts.size(); ++place) {
    if (Lease* mine = held(receipts[place]))
      mine->until = std::chrono::steady_clock::now() + lease;
    else
      late.push_back(place);
  }
  return late;
}

}  // namespace errand::memory
