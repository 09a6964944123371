#pragma once
// MemoryBackend: results inside this process. Backends of the same name share one store, also between threads.

#include <errand/drivers.hpp>
#include <errand/result_backend.hpp>

#include <condition_variable>
#include <map>
#include <mutex>

namespace errand::memory {

/// memory://name; "memory://" is the store without a name.
std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options);

class Results;  // the store of one name

class MemoryBackend final : public ResultBackend {
 public:
  MemoryBackend(std::shared_ptr<Results> results, Milliseconds expires);

  BackendTraits traits() const noexcept override;
  void put(std::span<const TaskResult> results) override;
  std::optional<TaskResult> get(TaskIdView id) override;
  std::optional<TaskResult> wait(TaskIdView id, Deadline deadline) override;
  void forget(TaskIdView id) override;
  void put_group(GroupIdView group, std::span<const TaskId> members) override;
  std::optional<std::vector<TaskId>> get_group(GroupIdView group) override;
  ChordProgress chord_part_done(GroupIdView group, const ChordPart& part) override;
  void set_chord_size(GroupIdView group, std::size_t size) override;
  std::size_t expire(TimePoint older_than) override;

 private:
  std::shared_ptr<Results> results_;
  Milliseconds expires_;
};

}  // namespace errand::memory
