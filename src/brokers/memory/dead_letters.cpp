// The dead letters of a Store: shown, sent again, dropped.
#include "brokers/memory/store.hpp"

#include "core/text.hpp"

namespace errand::memory {

namespace {

// What stands for the original bytes: the parts of the message, as they were given.
std::string raw_of(const Message& message) { return to_json(Value(message.headers)) + "\n" + message.body; }

}  // namespace

std::vector<DeadLetter> Store::dead_letters(std::string_view name, std::size_t limit, std::string_view after) {
  const std::lock_guard lock(mutex_);
  std::vector<DeadLetter> letters;
  const auto found = queues_.find(name);
  if (found == queues_.end()) return letters;
  const auto& dead = found->second.dead;
  for (auto it = dead.upper_bound(number_of(after).value_or(0)); it != dead.end() && letters.size() < limit; ++it) {
    const Item& item = it->second.item;
    const auto text = [&](std::string_view key) {
      const Value* value = item.message.headers.find(key);
      return value != nullptr && value->if_text() != nullptr ? *value->if_text() : std::string();
    };
    DeadLetter letter;
    letter.id = std::to_string(it->first);
    letter.queue = std::string(name);
    letter.reason = it->second.reason;
    letter.detail = it->second.detail;
    letter.raw = raw_of(item.message);
    letter.task = text("task");
    letter.task_id = text("id");
    letter.deliveries = item.deliveries;
    letter.first_seen = item.sent;
    letter.last_seen = it->second.last_seen;
    letters.push_back(std::move(letter));
  }
  return letters;
}

template <class Use>
std::size_t Store::take_dead(std::string_view name, std::span<const std::string> ids, Use use) {
  const std::lock_guard lock(mutex_);
  const auto queue = queues_.find(name);
  if (queue == queues_.end()) return 0;
  std::size_t count = 0;
  for (const std::string& id : ids) {
    auto letter = queue->second.dead.extract(number_of(id).value_or(0));
    if (letter.empty()) continue;
    use(std::move(letter.mapped().item));
    count += 1;
  }
  return count;
}

std::size_t Store::requeue_dead(std::string_view name, std::span<const std::string> ids) {
  return take_dead(name, ids, [this](Item item) {
    item.deliveries = 0;
    item.life_token = last_token_ + 1;
    put_ready(std::move(item));
  });
}

std::size_t Store::drop_dead(std::string_view name, std::span<const std::string> ids) {
  return take_dead(name, ids, [this](const Item& item) { forget(item); });
}

}  // namespace errand::memory
