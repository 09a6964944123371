// StoreModel, the operator's side: what people look at and move by hand.
#include "core/text.hpp"
#include "testing/store_model.hpp"

#include <algorithm>

namespace errand::testing {

namespace {
std::string text_of(const Message& message, std::string_view key) {
  const Value* value = message.headers.find(key);
  const std::string* text = value == nullptr ? nullptr : value->if_text();
  return text == nullptr ? std::string() : *text;
}
}  // namespace

std::size_t StoreModel::count(Item::State state) const noexcept {
  return static_cast<std::size_t>(
      std::count_if(items_.begin(), items_.end(), [&](const auto& entry) { return entry.second.state == state; }));
}

QueueInfo StoreModel::inspect(std::string_view name) const {
  QueueInfo info;
  info.name = name;
  for (const auto& [number, item] : items_) {
    if (item.queue != name) continue;
    info.ready += item.state == Item::State::ready;
    info.parked += item.state == Item::State::parked;
    info.leased += item.state == Item::State::leased;
    info.dead += item.state == Item::State::dead;
  }
  return info;
}

std::vector<std::string> StoreModel::queues() const {
  std::vector<std::string> names;
  for (const auto& [name, queue] : queues_) names.push_back(name);
  return names;
}

std::size_t StoreModel::purge(std::string_view name) {
  const auto queue = queues_.find(name);
  if (queue == queues_.end()) return 0;
  std::vector<std::uint64_t> gone;
  for (const auto& [key, number] : queue->second.ready) gone.push_back(number);
  for (const auto& [due, number] : queue->second.parked) gone.push_back(number);
  queue->second.ready.clear();
  queue->second.parked.clear();
  for (const std::uint64_t number : gone) {
    if (watcher != nullptr) watcher->removed(items_.at(number));
    erase(number);
  }
  return gone.size();
}

std::vector<DeadLetter> StoreModel::dead_letters(std::string_view name, std::size_t limit,
                                                 std::string_view after) const {
  std::vector<DeadLetter> letters;
  const auto queue = queues_.find(name);
  if (queue == queues_.end()) return letters;
  const std::uint64_t last = core::parse_number(after, INT64_MAX).value_or(0);
  for (auto at = queue->second.dead.upper_bound(last); at != queue->second.dead.end() && letters.size() < limit; ++at) {
    const Item& item = items_.at(at->second);
    DeadLetter letter;
    letter.id = std::to_string(at->first);
    letter.queue = item.queue;
    letter.reason = item.reason;
    letter.detail = item.detail;
    letter.raw = item.message.body;
    letter.task = text_of(item.message, "task");
    letter.task_id = item.task_id;
    letter.deliveries = item.deliveries;
    letter.first_seen = item.sent;
    letter.last_seen = item.last_seen;
    letters.push_back(std::move(letter));
  }
  return letters;
}

std::size_t StoreModel::requeue_dead(std::string_view name, std::span<const std::string> ids) {
  const auto queue = queues_.find(name);
  if (queue == queues_.end()) return 0;
  std::size_t count = 0;
  for (const std::string& id : ids) {
    const auto letter = queue->second.dead.find(core::parse_number(id, INT64_MAX).value_or(0));
    if (letter == queue->second.dead.end()) continue;
    Item& item = items_.at(letter->second);
    queue->second.dead.erase(letter);
    item.deliveries = 0;
    item.life_token = flavour_ == Flavour::sqlite ? last_token_ + 1 : 0;
    put_ready(item, Place::back);
    if (watcher != nullptr) watcher->put_back(item);
    count += 1;
  }
  return count;
}

std::size_t StoreModel::drop_dead(std::string_view name, std::span<const std::string> ids) {
  const auto queue = queues_.find(name);
  if (queue == queues_.end()) return 0;
  std::size_t count = 0;
  for (const std::string& id : ids) {
    const auto letter = queue->second.dead.find(core::parse_number(id, INT64_MAX).value_or(0));
    if (letter == queue->second.dead.end()) continue;
    if (watcher != nullptr) watcher->removed(items_.at(letter->second));
    erase(letter->second);
    queue->second.dead.erase(letter);
    count += 1;
  }
  return count;
}

}  // namespace errand::testing
