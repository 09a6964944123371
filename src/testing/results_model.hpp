#pragma once
// ResultsModel: what a result store holds, as a state machine without connections.

#include "testing/store_model.hpp"

#include <errand/result_backend.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace errand::testing {

/// Hears of every write. `before` is null for the first; a write that was refused changed nothing.
class ResultsWatcher {
 public:
  virtual ~ResultsWatcher() = default;
  virtual void written(const TaskResult& result, const TaskResult* before, bool accepted) = 0;
};

class ResultsModel {
 public:
  explicit ResultsModel(Flavour flavour) : flavour_(flavour) {}
  ResultsWatcher* watcher = nullptr;

  void put(const TaskResult& result);
  std::optional<TaskResult> get(TaskIdView id) const;
  void forget(TaskIdView id);
  void put_group(GroupIdView group, std::span<const TaskId> members);
  std::optional<std::vector<TaskId>> get_group(GroupIdView group) const;
  void set_chord_size(GroupIdView group, std::size_t size);
  ChordProgress chord_part_done(GroupIdView group, const ChordPart& part);
  const std::map<TaskId, TaskResult, std::less<>>& records() const noexcept { return records_; }

 private:
  struct Chord {
    std::optional<std::size_t> size;
    std::map<TaskId, ChordPart> parts;
    std::optional<TaskId> completed_by;
    std::map<TaskId, ChordPart> taken;  // of the completed one
  };
  TaskResult kept(const TaskResult& result) const;
  static ChordProgress complete(const std::map<TaskId, ChordPart>& parts);

  Flavour flavour_;
  std::map<TaskId, TaskResult, std::less<>> records_;
  std::map<std::string, std::vector<TaskId>, std::less<>> groups_;
  std::map<std::string, Chord, std::less<>> chords_;
};

}  // namespace errand::testing
