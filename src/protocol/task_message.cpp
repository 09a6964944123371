#include "protocol/task_message.hpp"

#include "protocol/body.hpp"
#include "protocol/compression.hpp"
#include "protocol/content.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/protocol1.hpp"

#include <algorithm>
#include <array>

namespace errand::protocol {
namespace {

constexpr std::array<std::string_view, 21> kKnownHeaders{"lang",
                                                         "task",
                                                         "id",
                                                         "shadow",
                                                         "eta",
                                                         "expires",
                                                         "group",
                                                         "group_index",
                                                         "retries",
                                                         "timelimit",
                                                         "root_id",
                                                         "parent_id",
                                                         "argsrepr",
                                                         "kwargsrepr",
                                                         "origin",
                                                         "ignore_result",
                                                         "replaced_task_nesting",
                                                         "stamped_headers",
                                                         "stamps",
                                                         "compression",
                                                         "redelivered"};

TaskMessage decode_headers(const Message& message) {
  const HeaderFields headers(message.headers);
  TaskMessage out;
  out.task = headers.required_text("task");
  out.id = headers.required_text("id");
  out.lang = headers.text("lang");
  out.shadow = headers.text("shadow");
  out.eta = headers.time("eta");
  out.expires = headers.time("expires");
  out.group = headers.text("group");
  out.group_index = headers.integer("group_index");
  out.retries = headers.count("retries");
  headers.limits("timelimit", out.time_limit, out.soft_time_limit);
  out.root_id = headers.text("root_id");
  out.parent_id = headers.text("parent_id");
  out.argsrepr = headers.text("argsrepr");
  out.kwargsrepr = headers.text("kwargsrepr");
  out.origin = headers.text("origin");
  out.ignore_result = headers.flag("ignore_result");
  out.replaced_task_nesting = headers.integer("replaced_task_nesting").value_or(0);
  out.stamped_headers = headers.texts("stamped_headers");
  out.stamps = headers.object("stamps");
  out.compression = headers.text("compression");
  for (const auto& [name, value] : message.headers) {
    if (std::find(kKnownHeaders.begin(), kKnownHeaders.end(), name) == kKnownHeaders.end()) out.custom.set(name, value);
  }
  const HeaderFields properties(message.properties);
  out.reply_to = properties.text("reply_to");
  out.correlation_id = properties.text("correlation_id");
  if (const Value* priority = message.properties.find("priority"); priority != nullptr && priority->is_integer()) {
    out.priority = static_cast<int>(std::clamp<std::int64_t>(priority->as_integer(), 0, 9));
  }
  return out;
}

}  // namespace

TaskMessage decode_task(Message& message) {
  if (!is_protocol1(message)) return decode_headers(message);
  Message upgraded = upgrade_protocol1(message);
  TaskMessage out = decode_headers(upgraded);
  message = std::move(upgraded);
  return out;
}

TaskMessage decode_task(const Message& message) {
  if (!is_protocol1(message)) return decode_headers(message);
  return decode_headers(upgrade_protocol1(message));
}

}  // namespace errand::protocol
