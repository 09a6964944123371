// Revoked tasks: known to whoever takes a message afterwards.
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include "core/uuid.hpp"

#include <algorithm>

namespace errand::conformance {

namespace {

bool among(const std::vector<RevokedTask>& tasks, const TaskId& id) {
  return std::any_of(tasks.begin(), tasks.end(),
                     [&](const RevokedTask& one) { return one.id == id && one.keep > Milliseconds{0}; });
}

void known_before_it_runs(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  auto consumer = c.consumer(queue);
  c.publish(queue, "first");
  c.ack(*consumer, c.take_one(*consumer));
  consumer->take_revoked();
  c.publish(queue, "second");
  const std::vector<TaskId> ids{core::uuid4(), core::uuid4()};
  c.another()->revoke(ids);
  const Delivery delivery = c.take_one(*consumer);
  const auto told = consumer->take_revoked();
  require(among(told, ids[0]) && among(told, ids[1]), "what was revoked before a message was taken is known with it");
  require(!among(consumer->take_revoked(), ids[0]), "each is told once");
  c.ack(*consumer, delivery);
}

void known_to_later_consumers(BrokerContext& c) {
  const std::string queue = c.fresh_queue();
  const TaskId id = core::uuid4();
  {
    auto broker = c.another();
    broker->revoke(std::vector{id});
    broker->revoke(std::vector{id});  // twice is as good as once
  }
  c.publish(queue, "later");
  auto consumer = c.consumer(queue);
  const Delivery delivery = c.take_one(*consumer);
  require(among(consumer->take_revoked(), id), "a consumer that comes later learns it with its first message");
  c.ack(*consumer, delivery);
}

bool keeps(const BrokerTraits& traits) { return traits.keeps_revokes; }

constexpr BrokerCheck kRows[] = {
    {"revoke.known", "a task revoked before its message is taken is known to be before it could run", keeps,
     known_before_it_runs},
    {"revoke.later", "consumers that come later know what was revoked before them", keeps, known_to_later_consumers},
};

}  // namespace

std::span<const BrokerCheck> revoke_rows() { return kRows; }

}  // namespace errand::conformance
