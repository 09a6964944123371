#include "testing/results_model.hpp"

#include <algorithm>
#include <cstdint>
#include <tuple>

namespace errand::testing {

// Redis has Celery's records, in which the number of retries is one of the extended fields.
TaskResult ResultsModel::kept(const TaskResult& result) const {
  TaskResult record = result;
  if (flavour_ == Flavour::redis && !result.extended) record.retries = 0;
  return record;
}

// A stored SUCCESS stays, and of two tokens the newer record. Redis knows a token only by the fence behind the record,
// which a record without one does not have.
void ResultsModel::put(const TaskResult& result) {
  const auto [at, fresh] = records_.try_emplace(result.id, kept(result));
  if (fresh) {
    if (watcher != nullptr) watcher->written(result, nullptr, true);
    return;
  }
  TaskResult& stored = at->second;
  const bool fenced = flavour_ == Flavour::sqlite || (result.token != 0 && stored.token != 0);
  const bool accepted = stored.state != state::success && (!fenced || result.token >= stored.token);
  if (watcher != nullptr) watcher->written(result, &stored, accepted);
  if (accepted) stored = kept(result);
}

std::optional<TaskResult> ResultsModel::get(TaskIdView id) const {
  const auto found = records_.find(id);
  return found == records_.end() ? std::nullopt : std::optional(found->second);
}

void ResultsModel::forget(TaskIdView id) {
  if (const auto found = records_.find(id); found != records_.end()) records_.erase(found);
}

void ResultsModel::put_group(GroupIdView group, std::span<const TaskId> members) {
  groups_.insert_or_assign(std::string(group), std::vector<TaskId>(members.begin(), members.end()));
}

std::optional<std::vector<TaskId>> ResultsModel::get_group(GroupIdView group) const {
  const auto found = groups_.find(group);
  return found == groups_.end() ? std::nullopt : std::optional(found->second);
}

void ResultsModel::set_chord_size(GroupIdView group, std::size_t size) { chords_[std::string(group)].size = size; }

ChordProgress ResultsModel::chord_part_done(GroupIdView group, const ChordPart& part) {
  Chord& chord = chords_[std::string(group)];
  // Told again: Redis has put the parts aside, SQLite looks at its rows again.
  if (chord.completed_by == part.id) return complete(flavour_ == Flavour::redis ? chord.taken : chord.parts);
  chord.parts.try_emplace(part.id, part);
  const bool open = flavour_ == Flavour::redis || !chord.completed_by;
  if (!open || !chord.size || chord.parts.size() < *chord.size) return {};
  chord.completed_by = part.id;
  if (flavour_ == Flavour::sqlite) return complete(chord.parts);
  // The keys are renamed and deleted: what comes later starts a count that has no size.
  chord.taken = std::move(chord.parts);
  chord.parts.clear();
  chord.size.reset();
  return complete(chord.taken);
}

ChordProgress ResultsModel::complete(const std::map<TaskId, ChordPart>& parts) {
  ChordProgress progress;
  progress.complete = true;
  std::vector<const ChordPart*> order;
  for (const auto& [id, member] : parts) order.push_back(&member);
  const auto place = [](const ChordPart* part) { return std::tuple(part->index.value_or(INT64_MAX), part->id); };
  std::sort(order.begin(), order.end(), [&](const ChordPart* a, const ChordPart* b) { return place(a) < place(b); });
  for (const ChordPart* member : order) {
    if (member->state != state::success && progress.failed_member.empty()) {
      progress.failed_member = member->id;
      progress.failure_json = member->result_json;
    }
    progress.results.push_back(member->result_json);
  }
  return progress;
}

}  // namespace errand::testing
