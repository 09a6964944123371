// From a delivery to the engine's input: the only place of the worker that decodes messages.
#include "protocol/content.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/task_message.hpp"
#include "worker/loop.hpp"

#include <limits>

namespace errand::worker {

namespace {
// How often the message has killed its process: a header of our own, which Celery's workers carry along unread.
std::uint32_t crashes_of(const Object& headers) {
  const Value* value = headers.find("errand_crashes");
  const std::int64_t* count = value == nullptr ? nullptr : value->if_integer();
  if (count == nullptr || *count < 0 || *count > std::numeric_limits<std::uint32_t>::max()) return 0;
  return static_cast<std::uint32_t>(*count);
}

}  // namespace

Arrival to_arrival(Delivery&& delivery) {
  Arrival arrival;
  arrival.receipt = std::move(delivery.receipt);
  arrival.route = std::move(delivery.route);
  arrival.redelivered = delivery.redelivered;
  arrival.deliveries = delivery.deliveries;
  arrival.life_token = delivery.life_token;
  arrival.sending_id = std::move(delivery.sending_id);
  arrival.signed_by = std::move(delivery.signed_by);
  if (!delivery.defect.empty()) {
    // No id and no name are taken from a message that is not believed: a forged one must not end somebody's task.
    arrival.defect_code =
        delivery.defect_code.empty() ? std::string(protocol::reason::undecodable) : std::move(delivery.defect_code);
    arrival.defect_detail = std::move(delivery.defect);
    return arrival;
  }
  try {
    protocol::require_json(delivery.message);
    protocol::TaskMessage task = protocol::decode_task(delivery.message);
    arrival.id = std::move(task.id);
    arrival.task = std::move(task.task);
    arrival.root_id = std::move(task.root_id);
    arrival.parent_id = std::move(task.parent_id);
    arrival.group_id = std::move(task.group);
    arrival.group_index = task.group_index;
    arrival.eta = task.eta;
    arrival.expires = task.expires;
    arrival.retries = task.retries;
    arrival.time_limit = task.time_limit;
    arrival.soft_time_limit = task.soft_time_limit;
    arrival.ignore_result = task.ignore_result;
    arrival.priority = task.priority;
    arrival.crashes = crashes_of(delivery.message.headers);
  } catch (const protocol::DecodeFailure& failure) {
    arrival.defect_code = failure.reason();
    arrival.defect_detail = failure.line();
    // A sender that waits for a result learns of the failure when at least the id could be read.
    arrival.id = protocol::text_or_empty(delivery.message.headers, "id");
    arrival.task = protocol::text_or_empty(delivery.message.headers, "task");
  }
  arrival.message = std::make_shared<const Message>(std::move(delivery.message));
  return arrival;
}

}  // namespace errand::worker
