#pragma once
// SqliteBackend: results, groups and chords in the store's file.

#include "wire/sqlite/results.hpp"
#include "wire/sqlite/store.hpp"

#include <errand/drivers.hpp>
#include <errand/result_backend.hpp>

namespace errand::sqlite {

std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options);

class SqliteBackend final : public ResultBackend, public StoreUser {
 public:
  SqliteBackend(std::string path, TransportOptions options);
  const std::string& store_path() const noexcept override { return store_.path(); }
  Milliseconds result_expires() const noexcept override { return options_.result_expires; }

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
  static void read_parts(Database& database, GroupIdView group, ChordProgress& progress);
  Store store_;
  TransportOptions options_;
  std::unique_ptr<Waiter> waiter_;
  Sweep sweep_;
};

}  // namespace errand::sqlite
