// Writing task messages: a call, and the copy of a message that is tried again.

#include "protocol/body.hpp"
#include "protocol/compression.hpp"
#include "protocol/content.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/saferepr.hpp"
#include "protocol/shown_value.hpp"
#include "protocol/signature_json.hpp"
#include "protocol/task_message.hpp"

#include <errand/error.hpp>
#include <errand/signing.hpp>

#include <unistd.h>
#include <algorithm>

namespace errand::protocol {
namespace {

Error invalid(const Signature& call, std::string detail) {
  return Error({.kind = ErrorKind::invalid, .operation = "send", .subject = call.task, .detail = std::move(detail)});
}

Value seconds_or_null(const std::optional<Milliseconds>& limit) {
  if (!limit) return {};
  if (limit->count() % 1000 == 0) return Value(limit->count() / 1000);
  return Value(static_cast<double>(limit->count()) / 1000);
}

// AMQP's TTL text; "0" when it is too late already.
std::string expiration(TimePoint expires, TimePoint now) {
  const auto left = std::chrono::floor<Milliseconds>(expires - now).count();
  return std::to_string(std::max<std::int64_t>(0, left));
}

void pack(Message& message, const Signature& call, const std::string& wanted) {
  if (wanted.empty()) return;
  const auto method = find_compression(wanted);
  if (!method) {
    throw invalid(call, "compression: expected gzip, zlib, bzip2, lzma, brotli or zstd, got '" + wanted + "'");
  }
  std::string packed = compress(*method, message.body);
  // Readers with a limit on the ratio, ours included, would refuse it; as it is it always arrives.
  if (too_good(packed.size(), message.body.size())) return;
  message.body = std::move(packed);
  message.headers.set("compression", Value(mime_name(*method)));
}

}  // namespace

std::string sender_origin() {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
    return "gen" + std::to_string(::getpid()) + "@localhost";
  return "gen" + std::to_string(::getpid()) + "@" + host;
}

Message encode_task(const Signature& call, const SenderInfo& sender) {
  const CallOptions& options = call.options;
  if (call.task.empty()) throw invalid(call, "expected a task name, got none");
  if (options.task_id.empty()) throw invalid(call, "expected a task id; freeze the call before encoding it");

  std::optional<TimePoint> eta = options.eta;
  if (options.countdown) eta = sender.now + *options.countdown;
  std::optional<TimePoint> expires = options.expires;
  if (options.expires_in) expires = sender.now + *options.expires_in;

  Message out;
  Object& headers = out.headers;
  headers.set("lang", "cpp");
  headers.set("task", call.task);
  headers.set("id", options.task_id);
  headers.set("shadow", text_or_null(options.shadow));
  headers.set("eta", eta ? Value(write_time(*eta)) : Value());
  headers.set("expires", expires ? Value(write_time(*expires)) : Value());
  headers.set("group", text_or_null(options.group_id));
  headers.set("group_index", options.group_index ? Value(*options.group_index) : Value());
  headers.set("retries", Value(options.retries));
  headers.set("timelimit",
              Value::array({seconds_or_null(options.time_limit), seconds_or_null(options.soft_time_limit)}));
  headers.set("root_id", options.root_id.empty() ? options.task_id : options.root_id);
  headers.set("parent_id", text_or_null(options.parent_id));
  headers.set("argsrepr", args_repr(call.args, call.secret_args));
  headers.set("kwargsrepr", kwargs_repr(call.kwargs, call.secret_kwargs));
  headers.set("origin", sender.origin);
  headers.set("ignore_result", Value(options.ignore_result.value_or(false)));
  headers.set("replaced_task_nesting", 0);
  headers.set("stamped_headers", Value());
  headers.set("stamps", Value(Object{}));
  for (const auto& [name, value] : options.headers) headers.set(name, value);

  Object& properties = out.properties;
  properties.set("correlation_id", options.task_id);
  properties.set("reply_to", options.reply_to.empty() ? sender.reply_to : options.reply_to);
  if (expires) properties.set("expiration", expiration(*expires, sender.now));
  properties.set("delivery_mode", sender.delivery_mode);
  properties.set("priority", std::clamp(options.priority.value_or(0), 0, 9));

  out.body = encode_body(call.args, call.kwargs, embed_of(call), {.typed_bytes = sender.typed_json});
  pack(out, call, options.compression.empty() ? sender.default_compression : options.compression);
  return out;
}

Message retry_of(const Message& original, std::uint32_t retries, std::optional<TimePoint> eta,
                 std::optional<TimePoint> now, std::optional<TimePoint> until) {
  Message out = original;
  Object& headers = out.headers;
  headers.set("retries", Value(retries));
  headers.set("eta", eta ? Value(write_time(*eta)) : Value());
  const Value* parent = headers.find("parent_id");
  if (parent == nullptr || parent->is_null()) {
    if (const Value* id = headers.find("id")) headers.set("parent_id", Value(*id));
  }
  headers.erase("redelivered");
  headers.erase(kSignatureHeader);  // fits the message as it was, and whoever sends this one may have no key
  out.properties.erase("redelivered");
  if (until) {
    const Value* before = headers.find("expires");
    const auto sooner = before != nullptr && before->if_text() != nullptr ? read_time(before->as_text()) : std::nullopt;
    if (!sooner || *until < *sooner) headers.set("expires", Value(write_time(*until)));
  }
  if (const Value* expires = headers.find("expires"); now && expires != nullptr && expires->if_text() != nullptr) {
    if (const auto time = read_time(expires->as_text())) out.properties.set("expiration", expiration(*time, *now));
  }
  return out;
}

Route retry_route(const Route& original, std::string_view queue) {
  return queue.empty() ? original : Route{"", std::string(queue)};
}

}  // namespace errand::protocol
