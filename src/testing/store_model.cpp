#include "testing/store_model.hpp"

#include "core/text.hpp"
#include "protocol/topic.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <tuple>

namespace errand::testing {

namespace {

std::string id_of(const Message& message) {
  const Value* id = message.headers.find("id");
  const std::string* text = id == nullptr ? nullptr : id->if_text();
  return text == nullptr ? std::string() : *text;
}

// Redis serves priority 0 first and has four lists per queue; SQLite serves 9 first.
int urgency_of(Flavour flavour, int priority) {
  const int clamped = std::clamp(priority, 0, 9);
  return flavour == Flavour::sqlite ? 9 - clamped : clamped / 3;
}

}  // namespace

std::string_view to_string(Return why) noexcept {
  switch (why) {
    case Return::lease_ended:
      return "lease ended";
    case Return::owner_dead:
      return "owner dead";
    case Return::consumer_closed:
      return "consumer closed";
    case Return::answer_lost:
      return "answer lost";
    case Return::requeued:
      return "requeued";
    case Return::foreign_timeout:
      return "visibility timeout";
  }
  return "";
}

StoreModel::StoreModel(Flavour flavour, TimePoint first)
    : flavour_(flavour),
      last_token_(flavour == Flavour::redis ? static_cast<std::uint64_t>(first.time_since_epoch().count()) : 0) {}

void StoreModel::declare(const Topology& topology) {
  for (const QueueSpec& spec : topology.queues) {
    queues_.try_emplace(spec.name);
    const Binding binding{spec.exchange.empty() ? spec.name : spec.exchange, spec.exchange_type,
                          spec.routing_key.empty() ? spec.name : spec.routing_key, spec.name};
    if (std::find(bindings_.begin(), bindings_.end(), binding) == bindings_.end()) bindings_.push_back(binding);
  }
}

std::vector<std::string> StoreModel::targets(const Route& route) const {
  if (route.exchange.empty()) return {route.routing_key};
  std::vector<std::string> found;
  for (const Binding& binding : bindings_) {
    if (binding.exchange != route.exchange) continue;
    const bool matches =
        binding.type == "fanout" || (binding.type == "topic" ? protocol::topic_matches(binding.key, route.routing_key)
                                                             : binding.key == route.routing_key);
    if (matches && std::find(found.begin(), found.end(), binding.queue) == found.end()) found.push_back(binding.queue);
  }
  if (found.empty()) {
    throw Error({.kind = ErrorKind::not_found,
                 .operation = "model.publish",
                 .subject = route.exchange,
                 .detail = "no queue is bound for routing key '" + route.routing_key + "'"});
  }
  return found;
}

void StoreModel::publish(std::span<const Envelope> envelopes, TimePoint now) {
  for (const Envelope& envelope : envelopes) targets(envelope.route);
  for (const Envelope& envelope : envelopes) {
    for (const std::string& name : targets(envelope.route)) {
      Item& item = items_[++last_number_];
      item.number = last_number_;
      item.queue = name;
      item.task_id = id_of(envelope.message);
      item.urgency = urgency_of(flavour_, envelope.priority);
      item.message = envelope.message;
      item.route = envelope.route;
      item.sent = now;
      // Who sends to Redis does not ask for its time: what may be due already is for the next fetch to see.
      if (envelope.not_before && (flavour_ == Flavour::redis || *envelope.not_before > now)) {
        item.state = Item::State::parked;
        item.due = *envelope.not_before;
        queues_[name].parked.emplace(item.due, item.number);
      } else {
        put_ready(item, Place::back);
      }
      if (watcher != nullptr) watcher->arrived(item);
    }
  }
}

// SQLite's index keeps the order of arrival; a list has two ends.
void StoreModel::put_ready(Item& item, Place place) {
  item.state = Item::State::ready;
  if (flavour_ == Flavour::sqlite)
    item.position = static_cast<std::int64_t>(item.number);
  else
    item.position = place == Place::back ? ++back_ : --front_;
  queues_[item.queue].ready.emplace(std::pair{item.urgency, item.position}, item.number);
}

void StoreModel::promote(Queue& queue, TimePoint now) {
  while (!queue.parked.empty() && queue.parked.begin()->first <= now) {
    Item& item = items_.at(queue.parked.begin()->second);
    queue.parked.erase(queue.parked.begin());
    put_ready(item, Place::back);
  }
}

// Growing, and for Redis never behind the time.
std::uint64_t StoreModel::next_token(TimePoint now) {
  const auto time = static_cast<std::uint64_t>(now.time_since_epoch().count());
  return last_token_ = flavour_ == Flavour::redis ? std::max(time, last_token_ + 1) : last_token_ + 1;
}

Delivery StoreModel::hand_out(Item& item) {
  item.state = Item::State::leased;
  item.deliveries += 1;
  leased_.insert(item.number);
  Delivery delivery;
  delivery.receipt = {std::to_string(item.number), item.token, item.queue};
  delivery.message = item.message;
  delivery.route = item.route;
  delivery.deliveries = item.deliveries;
  delivery.redelivered = item.deliveries > 1;
  if (flavour_ == Flavour::redis && item.life_token == 0) item.life_token = item.token;
  delivery.life_token = item.life_token;
  if (watcher != nullptr) watcher->claimed(item);
  return delivery;
}

std::vector<Delivery> StoreModel::claim(std::string_view owner, std::span<const std::string> queues, std::size_t max,
                                        Milliseconds lease, TimePoint now) {
  std::vector<Delivery> out;
  for (const std::string& name : queues) {
    Queue& queue = queues_[name];
    promote(queue, now);
    while (out.size() < max && !queue.ready.empty()) {
      Item& item = items_.at(queue.ready.begin()->second);
      queue.ready.erase(queue.ready.begin());
      item.token = next_token(now);
      item.owner = owner;
      item.until = now + lease;
      item.stamp = now;
      item.foreign = false;
      out.push_back(hand_out(item));
    }
  }
  return out;
}

Item* StoreModel::held(std::string_view owner, const Receipt& receipt) {
  const auto number = core::parse_number(receipt.id, INT64_MAX);
  const auto found = number ? items_.find(*number) : items_.end();
  if (found == items_.end()) return nullptr;
  Item& item = found->second;
  const bool mine = item.state == Item::State::leased && item.token == receipt.token && item.owner == owner;
  return mine ? &item : nullptr;
}

std::vector<std::uint32_t> StoreModel::late(std::string_view owner, std::span<const Settlement> settlements) {
  std::vector<std::uint32_t> places;
  for (std::uint32_t place = 0; place < settlements.size(); ++place) {
    if (held(owner, settlements[place].receipt) == nullptr) places.push_back(place);
  }
  return places;
}

std::vector<std::uint32_t> StoreModel::settle(std::string_view owner, std::span<const Settlement> settlements,
                                              TimePoint now) {
  const std::vector<std::uint32_t> too_late = late(owner, settlements);
  std::vector<const Settlement*> order;
  for (const Settlement& one : settlements) order.push_back(&one);
  // Each goes to the front of a list; the one that was first goes there last. Dead letters stand in the order of their
  // burial; in Redis, which numbers them by token, in that of their delivery.
  const auto place = [&](const Settlement* one) {
    const bool dead = one->kind == Settlement::Kind::dead_letter;
    const std::uint64_t token = one->receipt.token;
    return std::tuple(!dead, dead ? 0 : ~token, one);
  };
  std::sort(order.begin(), order.end(), [&](const Settlement* a, const Settlement* b) { return place(a) < place(b); });
  for (const Settlement* settlement : order) {
    Item* item = held(owner, settlement->receipt);
    if (item == nullptr) {
      if (watcher != nullptr) watcher->stale(settlement->receipt, owner);
      continue;
    }
    leased_.erase(item->number);
    if (watcher != nullptr) watcher->settled(*item, *settlement);
    switch (settlement->kind) {
      case Settlement::Kind::ack:
        erase(item->number);
        break;
      case Settlement::Kind::requeue:
        item->deliveries = std::max(1u, item->deliveries - 1);  // does not count, but the next one is a redelivery
        put_ready(*item, Place::front);
        if (watcher != nullptr) watcher->returned(*item, Return::requeued);
        break;
      case Settlement::Kind::park:
        if (!settlement->begun) item->deliveries -= std::min(item->deliveries, 1u);
        // Redis keeps the envelope as it came: a first delivery that was not begun leaves no mark in it.
        if (flavour_ == Flavour::redis && !settlement->begun && item->life_token == item->token) item->life_token = 0;
        item->state = Item::State::parked;
        item->due = settlement->not_before;
        queues_[item->queue].parked.emplace(item->due, item->number);
        break;
      case Settlement::Kind::dead_letter:
        item->state = Item::State::dead;
        item->reason = settlement->reason;
        item->detail = settlement->detail;
        item->last_seen = now;
        queues_[item->queue].dead.emplace(flavour_ == Flavour::redis ? item->token : ++last_dead_, item->number);
        break;
    }
  }
  return too_late;
}

std::vector<std::uint32_t> StoreModel::extend(std::string_view owner, std::span<const Receipt> receipts,
                                              Milliseconds lease, TimePoint now) {
  std::vector<std::uint32_t> too_late;
  for (std::uint32_t place = 0; place < receipts.size(); ++place) {
    if (Item* item = held(owner, receipts[place])) {
      item->until = now + lease;
      item->stamp = now;
    } else {
      too_late.push_back(place);
      if (watcher != nullptr) watcher->stale(receipts[place], owner);
    }
  }
  return too_late;
}

void StoreModel::give_back(Item& item, Return why) {
  leased_.erase(item.number);
  put_ready(item, Place::front);
  if (watcher != nullptr) watcher->returned(item, why);
}

// The last that was handed out first: each goes to the front of its list, and the one that was first goes there last.
std::vector<Item*> StoreModel::leased_to_errands() {
  std::vector<Item*> held;
  for (const std::uint64_t number : leased_) {
    Item& item = items_.at(number);
    if (!item.foreign) held.push_back(&item);
  }
  std::sort(held.begin(), held.end(), [](const Item* a, const Item* b) { return a->token > b->token; });
  return held;
}

void StoreModel::bury(std::string_view owner, Return why) {
  for (Item* item : leased_to_errands()) {
    if (item->owner == owner) give_back(*item, why);
  }
  if (const auto known = owners_.find(owner); known != owners_.end()) owners_.erase(known);
}

void StoreModel::bury_after(std::string_view owner, std::uint64_t token) {
  for (Item* item : leased_to_errands()) {
    if (item->owner == owner && item->token > token) give_back(*item, Return::answer_lost);
  }
}

std::size_t StoreModel::sweep(TimePoint now) {
  const std::size_t before = leased_.size();
  std::vector<std::string> silent;
  for (const auto& [owner, until] : owners_) {
    if (until < now) silent.push_back(owner);
  }
  for (const std::string& owner : silent) bury(owner, Return::owner_dead);
  for (Item* item : leased_to_errands()) {
    if (item->until < now) give_back(*item, Return::lease_ended);
  }
  return before - leased_.size();
}

std::vector<Delivery> StoreModel::claim_foreign(std::string_view owner, const std::string& name, std::size_t max,
                                                TimePoint its_clock) {
  std::vector<Delivery> out;
  Queue& queue = queues_[name];
  while (out.size() < max && !queue.ready.empty()) {
    Item& item = items_.at(queue.ready.begin()->second);
    queue.ready.erase(queue.ready.begin());
    item.token = next_token(its_clock);
    item.owner = owner;
    item.until = TimePoint::max();
    item.stamp = its_clock;
    item.foreign = true;
    out.push_back(hand_out(item));
  }
  return out;
}

bool StoreModel::ack_foreign(const Receipt& receipt) {
  const auto number = core::parse_number(receipt.id, INT64_MAX);
  const auto found = number ? items_.find(*number) : items_.end();
  if (found == items_.end() || found->second.state != Item::State::leased || found->second.token != receipt.token)
    return false;
  leased_.erase(found->first);
  if (watcher != nullptr) watcher->settled(found->second, Settlement{.receipt = receipt});
  items_.erase(found);
  return true;
}

std::size_t StoreModel::restore_foreign(Milliseconds visibility, TimePoint its_clock, bool errands_too) {
  std::size_t count = 0;
  const std::set<std::uint64_t> held_now = leased_;
  for (const std::uint64_t number : held_now) {
    Item& item = items_.at(number);
    if ((!item.foreign && !errands_too) || item.stamp + visibility > its_clock) continue;
    give_back(item, Return::foreign_timeout);
    count += 1;
  }
  return count;
}

TimePoint StoreModel::next_due(std::span<const std::string> names) const {
  TimePoint next = TimePoint::max();
  for (const std::string& name : names) {
    const auto queue = queues_.find(name);
    if (queue != queues_.end() && !queue->second.parked.empty())
      next = std::min(next, queue->second.parked.begin()->first);
  }
  return next;
}

TimePoint StoreModel::next_lease_end() const {
  TimePoint next = TimePoint::max();
  for (const std::uint64_t number : leased_) next = std::min(next, items_.at(number).until);
  return next;
}

std::size_t StoreModel::ready_in(std::span<const std::string> names, TimePoint now) const {
  std::size_t count = 0;
  for (const std::string& name : names) {
    const auto queue = queues_.find(name);
    if (queue == queues_.end()) continue;
    count += queue->second.ready.size();
    if (!queue->second.parked.empty() && queue->second.parked.begin()->first <= now) count += 1;
  }
  return count;
}

}  // namespace errand::testing
