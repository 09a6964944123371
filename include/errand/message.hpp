#pragma once
// Messages as they travel: headers and properties as maps, the body as opaque bytes.
//
// The layout is Celery's protocol 2 inside kombu's envelope (celery/app/amqp.py `as_task_v2`,
// kombu/transport/virtual/base.py). Errand decodes the headers at the border and carries the body unread
// until a typed function needs it; headers and properties it does not know are kept.

#include <errand/time.hpp>
#include <errand/value.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace errand {

using TaskId = std::string;
using TaskIdView = std::string_view;
using GroupIdView = std::string_view;

/// One message without its transport. A value.
struct Message {
  Object headers;     ///< celery-wire section 1.1; empty for protocol 1
  Object properties;  ///< correlation_id, reply_to, priority, ...; without what the transport itself adds
  std::string content_type = "application/json";
  std::string content_encoding = "utf-8";
  std::string body;  ///< raw bytes: base64 of the transport already removed, compression still applied
};

/// Where a message goes. Exchange "" is the default exchange: the routing key is the queue's name.
struct Route {
  std::string exchange;
  std::string routing_key;
  friend bool operator==(const Route&, const Route&) = default;
};

/// A message on its way out.
struct Envelope {
  Route route;
  Message message;
  int priority = 0;  ///< 0 to 9 as Celery writes it; what is urgent differs by broker (see BrokerTraits)
  std::optional<TimePoint> not_before;  ///< parked at the broker until then; never in a worker's memory
  /// Set where a message asked for it (its callbacks, the next step of its chain, its retry), and not whoever sends it:
  /// the key that message was signed with; "": it was not signed, and so this one is not (see SigningOptions).
  std::optional<std::string> asked_by;
};

/// Names one delivery of one message to one consumer. Opaque outside the driver that made it.
struct Receipt {
  std::string id;           ///< the store's key of the delivery (Redis: delivery_tag)
  std::uint64_t token = 0;  ///< grows with every delivery of the same message; fences late holders
  std::string queue;        ///< the queue it was taken from
  friend bool operator==(const Receipt&, const Receipt&) = default;
};

/// A message as a consumer gets it.
struct Delivery {
  Receipt receipt;
  Message message;
  Route route;  ///< as the sender gave it (delivery_info)
  bool redelivered = false;
  std::uint32_t deliveries = 1;  ///< how often it was handed out, this time included, where the store counts
  /// Outcomes stored under an older token are of an earlier life: an operator has put the message back from the dead
  /// letters since. 0: unknown.
  std::uint64_t life_token = 0;
  /// Names this one sending of it, where a signature proves that (see SigningOptions); "": unknown. Under this id an
  /// end is stored when it is acknowledged, and what comes with the same name afterwards is a copy.
  TaskId sending_id;
  std::string signed_by;    ///< the key whose signature it has; "": none, or nobody looked
  std::string raw;          ///< the bytes as stored; filled when they are no message
  std::string defect;       ///< not empty: it may not run; why, in one line. Dead-letter it.
  std::string defect_code;  ///< the dead letter's reason; "": UNDECODABLE, the bytes are no message
};

}  // namespace errand
