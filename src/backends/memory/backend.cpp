#include "backends/memory/backend.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace errand::memory {

namespace {
constexpr std::chrono::seconds kExpireEvery{10};
TimePoint wall_now() { return std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now()); }
}  // namespace

class Results {
 public:
  static std::shared_ptr<Results> named(std::string_view name) {
    static std::mutex mutex;
    static std::map<std::string, std::shared_ptr<Results>, std::less<>> stores;
    const std::lock_guard lock(mutex);
    std::shared_ptr<Results>& store = stores[std::string(name)];
    if (!store) store = std::make_shared<Results>();
    return store;
  }

  struct Record {
    TaskResult result;
    TimePoint written{};
  };
  struct Group {
    std::vector<TaskId> members;
    TimePoint written{};
  };
  struct Chord {
    std::optional<std::size_t> size;
    std::map<TaskId, ChordPart> parts;
    std::optional<TaskId> completed_by;
    TimePoint written{};
  };

  std::size_t expire_locked(TimePoint older_than) {
    const std::size_t gone = std::erase_if(records, [&](const auto& entry) {
      return entry.second.result.done_at.has_value() && *entry.second.result.done_at < older_than;
    });
    std::erase_if(groups, [&](const auto& entry) { return entry.second.written < older_than; });
    std::erase_if(chords, [&](const auto& entry) { return entry.second.written < older_than; });
    return gone;
  }

  std::mutex mutex;
  std::condition_variable news;
  std::map<TaskId, Record, std::less<>> records;
  std::map<std::string, Group, std::less<>> groups;
  std::map<std::string, Chord, std::less<>> chords;
  SteadyPoint expire_at{};
};

std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options) {
  const std::size_t name = url.find("://");
  return std::make_unique<MemoryBackend>(Results::named(name == std::string_view::npos ? url : url.substr(name + 3)),
                                         options.result_expires);
}

MemoryBackend::MemoryBackend(std::shared_ptr<Results> results, Milliseconds expires)
    : results_(std::move(results)), expires_(expires) {}

BackendTraits MemoryBackend::traits() const noexcept {
  BackendTraits traits;
  traits.name = "memory";
  traits.pushes = true;
  traits.chords = true;
  return traits;
}

void MemoryBackend::put(std::span<const TaskResult> results) {
  {
    const std::lock_guard lock(results_->mutex);
    const TimePoint now = wall_now();
    for (const TaskResult& result : results) {
      const auto [at, fresh] = results_->records.try_emplace(result.id);
      const TaskResult& stored = at->second.result;
      if (!fresh && (stored.state == state::success || stored.token > result.token)) continue;
      at->second = {result, now};
    }
    // Without this a process that runs for long would keep every result it ever had.
    const SteadyPoint steady = std::chrono::steady_clock::now();
    if (expires_ > Milliseconds{0} && results_->expire_at <= steady) {
      results_->expire_locked(now - expires_);
      results_->expire_at = steady + kExpireEvery;
    }
  }
  results_->news.notify_all();
}

std::optional<TaskResult> MemoryBackend::get(TaskIdView id) {
  const std::lock_guard lock(results_->mutex);
  const auto found = results_->records.find(id);
  if (found == results_->records.end()) return std::nullopt;
  return found->second.result;
}

std::optional<TaskResult> MemoryBackend::wait(TaskIdView id, Deadline deadline) {
  std::unique_lock lock(results_->mutex);
  for (;;) {
    const auto found = results_->records.find(id);
    if (found != results_->records.end() && state::ready(found->second.result.state)) return found->second.result;
    if (deadline.passed()) return std::nullopt;
    if (const auto point = deadline.point())
      results_->news.wait_until(lock, *point);
    else
      results_->news.wait(lock);
  }
}

void MemoryBackend::forget(TaskIdView id) {
  const std::lock_guard lock(results_->mutex);
  const auto found = results_->records.find(id);
  if (found != results_->records.end()) results_->records.erase(found);
}

void MemoryBackend::put_group(GroupIdView group, std::span<const TaskId> members) {
  const std::lock_guard lock(results_->mutex);
  results_->groups.insert_or_assign(std::string(group), Results::Group{{members.begin(), members.end()}, wall_now()});
}

std::optional<std::vector<TaskId>> MemoryBackend::get_group(GroupIdView group) {
  const std::lock_guard lock(results_->mutex);
  const auto found = results_->groups.find(group);
  if (found == results_->groups.end()) return std::nullopt;
  return found->second.members;
}

void MemoryBackend::set_chord_size(GroupIdView group, std::size_t size) {
  const std::lock_guard lock(results_->mutex);
  Results::Chord& chord = results_->chords[std::string(group)];
  chord.size = size;
  chord.written = wall_now();
}

ChordProgress MemoryBackend::chord_part_done(GroupIdView group, const ChordPart& part) {
  const std::lock_guard lock(results_->mutex);
  Results::Chord& chord = results_->chords[std::string(group)];
  chord.parts.try_emplace(part.id, part);
  chord.written = wall_now();
  ChordProgress progress;
  if (!chord.size || chord.parts.size() < *chord.size) return progress;
  if (!chord.completed_by) chord.completed_by = part.id;
  if (*chord.completed_by != part.id) return progress;
  progress.complete = true;
  std::vector<const ChordPart*> order;
  for (const auto& [id, member] : chord.parts) order.push_back(&member);
  std::sort(order.begin(), order.end(), [](const ChordPart* a, const ChordPart* b) {
    return std::pair(a->index.value_or(INT64_MAX), std::string_view(a->id)) <
           std::pair(b->index.value_or(INT64_MAX), std::string_view(b->id));
  });
  for (const ChordPart* member : order) {
    if (member->state != state::success && progress.failed_member.empty()) {
      progress.failed_member = member->id;
      progress.failure_json = member->result_json;
    }
    progress.results.push_back(member->result_json);
  }
  return progress;
}

std::size_t MemoryBackend::expire(TimePoint older_than) {
  const std::lock_guard lock(results_->mutex);
  return results_->expire_locked(older_than);
}

}  // namespace errand::memory
