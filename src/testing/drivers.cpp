// SimBroker and SimBackend: every call is one step of the model, taken over a Link.
#include "testing/drivers.hpp"

#include "testing/cluster.hpp"

#include <errand/error.hpp>

namespace errand::testing {

namespace {
constexpr std::size_t kMostMessageBytes = 16u << 20;
}  // namespace

BrokerTraits SimBroker::traits() const noexcept {
  const bool sqlite = process_->cluster.options.store == Store::sqlite;
  BrokerTraits traits;
  traits.name = sqlite ? "sqlite" : "redis";
  traits.durable = true;
  traits.priorities = true;
  traits.low_is_urgent = !sqlite;
  traits.shared = true;
  traits.foreign_readers = !sqlite;
  traits.lease = process_->cluster.visibility;
  traits.max_message_bytes = kMostMessageBytes;
  return traits;
}

void SimBroker::declare(const Topology& topology) {
  link_.call("declare", Effect::reads, [&] { process_->cluster.store.declare(topology); });
}

void SimBroker::publish(std::span<const Envelope> envelopes) {
  if (envelopes.empty()) return;
  Cluster& cluster = process_->cluster;
  link_.call("publish", Effect::changes, [&] { cluster.publish(*process_, envelopes); });
}

std::unique_ptr<Consumer> SimBroker::consume(const ConsumeOptions& options) {
  return std::make_unique<SimConsumer>(process_, options);
}

std::unique_ptr<Consumer> SimBroker::subscribe(const Route&) {
  throw Error({.kind = ErrorKind::unsupported, .operation = "simulation.subscribe", .detail = "no broadcasts here"});
}
void SimBroker::broadcast(const Envelope&) {
  throw Error({.kind = ErrorKind::unsupported, .operation = "simulation.broadcast", .detail = "no broadcasts here"});
}

QueueInfo SimBroker::inspect(std::string_view queue) {
  return link_.call("inspect", Effect::reads, [&] { return process_->cluster.store.inspect(queue); });
}
std::vector<std::string> SimBroker::queues() {
  return link_.call("queues", Effect::reads, [&] { return process_->cluster.store.queues(); });
}
std::size_t SimBroker::purge(std::string_view queue) {
  return link_.call("purge", Effect::changes, [&] { return process_->cluster.store.purge(queue); });
}
std::vector<DeadLetter> SimBroker::dead_letters(std::string_view queue, std::size_t limit, std::string_view after) {
  return link_.call("dead", Effect::reads, [&] { return process_->cluster.store.dead_letters(queue, limit, after); });
}
std::size_t SimBroker::requeue_dead(std::string_view queue, std::span<const std::string> ids) {
  return link_.call("requeue_dead", Effect::changes, [&] { return process_->cluster.store.requeue_dead(queue, ids); });
}
std::size_t SimBroker::drop_dead(std::string_view queue, std::span<const std::string> ids) {
  return link_.call("drop_dead", Effect::changes, [&] { return process_->cluster.store.drop_dead(queue, ids); });
}

BackendTraits SimBackend::traits() const noexcept {
  BackendTraits traits;
  traits.name = to_string(process_->cluster.options.store);
  traits.pushes = true;
  traits.durable = true;
  traits.chords = true;
  return traits;
}

void SimBackend::put(std::span<const TaskResult> results) {
  Cluster& cluster = process_->cluster;
  link_.call("put", Effect::changes, [&] { cluster.put(*process_, results); });
}
std::optional<TaskResult> SimBackend::get(TaskIdView id) {
  return link_.call("get", Effect::reads, [&] { return process_->cluster.results.get(id); });
}
std::optional<TaskResult> SimBackend::wait(TaskIdView id, Deadline) { return get(id); }
void SimBackend::forget(TaskIdView id) {
  link_.call("forget", Effect::changes, [&] { process_->cluster.results.forget(id); });
}
void SimBackend::put_group(GroupIdView group, std::span<const TaskId> members) {
  link_.call("put_group", Effect::changes, [&] { process_->cluster.results.put_group(group, members); });
}
std::optional<std::vector<TaskId>> SimBackend::get_group(GroupIdView group) {
  return link_.call("get_group", Effect::reads, [&] { return process_->cluster.results.get_group(group); });
}
ChordProgress SimBackend::chord_part_done(GroupIdView group, const ChordPart& part) {
  return link_.call("chord_part", Effect::changes, [&] {
    const ChordProgress progress = process_->cluster.results.chord_part_done(group, part);
    process_->cluster.world.count(progress.complete ? "effect.chord_complete" : "effect.chord_part");
    return progress;
  });
}
void SimBackend::set_chord_size(GroupIdView group, std::size_t size) {
  link_.call("chord_size", Effect::changes, [&] { process_->cluster.results.set_chord_size(group, size); });
}

}  // namespace errand::testing
