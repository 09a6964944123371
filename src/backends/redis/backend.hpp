#pragma once
// RedisBackend: results as Celery's Redis backend stores and publishes them (celery-wire section 5.2).

#include "wire/redis/connection.hpp"
#include "wire/redis/store_user.hpp"

#include <errand/drivers.hpp>
#include <errand/result_backend.hpp>

namespace errand::redis {

std::unique_ptr<ResultBackend> make_result_backend(std::string_view url, const TransportOptions& options);

class RedisBackend final : public ResultBackend, public StoreUser {
 public:
  RedisBackend(Url url, TransportOptions options);

  const Url& store_url() const noexcept override { return connection_.url(); }
  std::string result_key(std::string_view task_id) const override;
  std::string seconds_to_live() const override;

  BackendTraits traits() const noexcept override;
  void put(std::span<const TaskResult> results) override;
  std::optional<TaskResult> get(TaskIdView id) override;
  std::optional<TaskResult> wait(TaskIdView id, Deadline deadline) override;
  void forget(TaskIdView id) override;
  void put_group(GroupIdView group, std::span<const TaskId> members) override;
  std::optional<std::vector<TaskId>> get_group(GroupIdView group) override;
  ChordProgress chord_part_done(GroupIdView group, const ChordPart& part) override;
  void set_chord_size(GroupIdView group, std::size_t size) override;
  std::size_t expire(TimePoint) override { return 0; }  // Redis does it itself

 private:
  std::optional<TaskResult> subscribe(TaskIdView id, const std::string& channel);
  template <class Take>
  void take_until(Take take);
  void unsubscribe(const std::string& channel) noexcept;
  std::optional<TaskResult> published(const std::string& channel);
  void store(const std::string& key, const std::string& value, const std::string& seconds);
  void results_of_members(const std::string& saved_group, ChordProgress& progress);
  std::string group_key(std::string_view group, std::string_view suffix = "") const;

  TransportOptions options_;
  std::string prefix_;
  Connection connection_;
  Connection waiting_;  // subscribed to one channel at a time
};

}  // namespace errand::redis
