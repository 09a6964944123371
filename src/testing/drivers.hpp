#pragma once
// The drivers of a simulated store: the seams that a worker and a client see, over the models.

#include "testing/process.hpp"
#include "testing/results_model.hpp"

#include <errand/broker.hpp>

#include <set>
#include <utility>

namespace errand::testing {

class SimBroker final : public Broker {
 public:
  explicit SimBroker(std::shared_ptr<Process> process) : link_(process), process_(std::move(process)) {}
  BrokerTraits traits() const noexcept override;
  void declare(const Topology& topology) override;
  void publish(std::span<const Envelope> envelopes) override;
  std::unique_ptr<Consumer> consume(const ConsumeOptions& options) override;
  std::unique_ptr<Consumer> subscribe(const Route& pattern) override;
  void broadcast(const Envelope& envelope) override;
  QueueInfo inspect(std::string_view queue) override;
  std::vector<std::string> queues() override;
  std::size_t purge(std::string_view queue) override;
  std::vector<DeadLetter> dead_letters(std::string_view queue, std::size_t limit, std::string_view after) override;
  std::size_t requeue_dead(std::string_view queue, std::span<const std::string> ids) override;
  std::size_t drop_dead(std::string_view queue, std::span<const std::string> ids) override;

 private:
  Link link_;
  std::shared_ptr<Process> process_;
};

/// Waits, fetches, renews its heartbeat and gives back what others lost, as the real consumers do.
class SimConsumer final : public Consumer {
 public:
  SimConsumer(std::shared_ptr<Process> process, ConsumeOptions options);
  ~SimConsumer() override;
  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement> settlements) override;
  void extend(std::span<const Receipt> receipts, Milliseconds lease) override;
  void wake() noexcept override;
  bool commit(const Commit& commit, ResultBackend* results_in) override;
  std::size_t stale() const noexcept override { return stale_; }
  std::vector<Receipt> take_lost() override { return std::exchange(lost_, {}); }
  Microseconds clock_ahead() const noexcept override;
  /// Something is on a queue.
  void look() noexcept;

 private:
  std::span<Delivery> wait(std::size_t max, SteadyPoint until);
  void heartbeat();
  void maintain();
  SteadyPoint next_duty() const;
  Link link_;
  std::shared_ptr<Process> process_;
  ConsumeOptions options_;
  std::vector<Delivery> deliveries_;
  std::weak_ptr<Strand> waiting_;
  bool woken_ = false, looks_ = false;
  SteadyPoint heartbeat_at_{}, sweep_at_{};
  bool lost_answer_ = false, heard_ = false;
  std::uint64_t last_token_ = 0;
  std::size_t stale_ = 0;
  std::vector<Receipt> lost_;
  std::size_t rotation_ = 0;
};

class SimBackend final : public ResultBackend {
 public:
  explicit SimBackend(std::shared_ptr<Process> process) : link_(process), process_(std::move(process)) {}
  BackendTraits traits() const noexcept override;
  void put(std::span<const TaskResult> results) override;
  std::optional<TaskResult> get(TaskIdView id) override;
  std::optional<TaskResult> wait(TaskIdView id, Deadline deadline) override;
  void forget(TaskIdView id) override;
  void put_group(GroupIdView group, std::span<const TaskId> members) override;
  std::optional<std::vector<TaskId>> get_group(GroupIdView group) override;
  ChordProgress chord_part_done(GroupIdView group, const ChordPart& part) override;
  void set_chord_size(GroupIdView group, std::size_t size) override;
  std::size_t expire(TimePoint) override { return 0; }

 private:
  Link link_;
  std::shared_ptr<Process> process_;
};

}  // namespace errand::testing
