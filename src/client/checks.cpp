#include "client/checks.hpp"

#include "core/text.hpp"
#include "protocol/body.hpp"
#include "protocol/task_message.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace errand::client {

namespace {

constexpr std::size_t kDeepestCalls = 1'000;  // signatures in signatures; protocol refuses it as well
constexpr std::array<std::string_view, 20> kProtocolHeaders{"lang",
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
                                                            "compression",
                                                            "redelivered",
                                                            "signature"};
constexpr std::array<std::string_view, 16> kStandardProperties{
    "correlation_id", "reply_to",      "expiration",   "delivery_mode",    "priority",   "delivery_info",
    "delivery_tag",   "body_encoding", "content_type", "content_encoding", "message_id", "timestamp",
    "type",           "user_id",       "app_id",       "cluster_id"};

[[noreturn]] void refuse(const Signature& call, std::string detail) {
  throw Error({.kind = ErrorKind::invalid, .operation = "send", .subject = call.task, .detail = std::move(detail)});
}

void check_options(const Signature& call) {
  const CallOptions& o = call.options;
  if (o.priority && (*o.priority < 0 || *o.priority > 9)) {
    refuse(call, "priority: expected 0 to 9, got " + std::to_string(*o.priority));
  }
  if (o.time_limit && o.soft_time_limit && *o.soft_time_limit > *o.time_limit) {
    refuse(call, "soft_time_limit: expected at most the hard time_limit, got more");
  }
  for (const auto& [name, value] : o.headers) {
    if (std::find(kProtocolHeaders.begin(), kProtocolHeaders.end(), name) != kProtocolHeaders.end()) {
      refuse(call,
             "header '" + name + "': expected a name that the protocol does not use itself; see the call's options");
    }
  }
}

void add_once(std::vector<std::size_t>& positions, std::size_t position) {
  if (std::find(positions.begin(), positions.end(), position) == positions.end()) positions.push_back(position);
}

void mark_secrets(Signature& call, const TaskSchema& schema, std::size_t prepended) {
  for (std::size_t i = 0; i < schema.parameters.size(); ++i) {
    const ParameterSchema& parameter = schema.parameters[i];
    if (!parameter.secret) continue;
    if (i >= prepended && i - prepended < call.args.size()) add_once(call.secret_args, i - prepended);
    std::vector<std::string>& names = call.secret_kwargs;
    if (call.kwargs.contains(parameter.name) && std::find(names.begin(), names.end(), parameter.name) == names.end()) {
      names.push_back(parameter.name);
    }
  }
}

// `prepended`: what a worker will put before the arguments. -1: unknown, so only the name is checked (errbacks get
// either the failed id or request, exception and traceback).
void check(Signature& call, const ClientOptions& options, int prepended, std::size_t depth) {
  if (depth > kDeepestCalls)
    refuse(call, "expected calls nested at most " + std::to_string(kDeepestCalls) + " deep, got more");
  if (call.task.empty()) refuse(call, "expected a task name, got none");
  const auto known = options.catalogue.find(call.task);
  if (known != options.catalogue.end()) {
    const int leading = call.immutable ? 0 : prepended;
    if (leading >= 0) {
      check_call(call.task, known->second, call.args, call.kwargs, static_cast<std::size_t>(leading));
      mark_secrets(call, known->second, static_cast<std::size_t>(leading));
    }
  } else if (options.strict_names) {
    std::vector<std::string_view> names;
    for (const auto& [name, schema] : options.catalogue) names.push_back(name);
    const std::string_view nearest = core::nearest_word(call.task, names);
    refuse(call, "expected a task of the catalogue (strict names), got an unknown one" +
                     (nearest.empty() ? std::string() : "; did you mean '" + std::string(nearest) + "'?"));
  }
  check_options(call);
  for (Signature& step : call.chain) check(step, options, 1, depth + 1);
  for (Signature& callback : call.link) check(callback, options, 1, depth + 1);
  for (Signature& errback : call.link_error) check(errback, options, -1, depth + 1);
}

// The path of the first value that the writer refuses, found by writing each part alone.
std::string find_refused(const Value& value, const JsonStyle& style, const std::string& path) {
  if (const Array* items = value.if_array()) {
    for (std::size_t i = 0; i < items->size(); ++i) {
      if (std::string found = find_refused((*items)[i], style, codec::at_index(path, i)); !found.empty()) return found;
    }
  } else if (const Object* members = value.if_object()) {
    for (const auto& [name, member] : *members) {
      if (std::string found =
              find_refused(member, style, codec::at_field(path, core::escape_controls(core::shorten(name, 100))));
          !found.empty())
        return found;
    }
  }
  try {
    static_cast<void>(to_json(value, style));
    return {};
  } catch (const Error&) {
    return path.empty() ? "arguments" : path;
  }
}

std::size_t depth_of(const Value& value, std::size_t limit) {
  if (limit == 0) return 1;
  std::size_t deepest = 0;
  if (const Array* items = value.if_array()) {
    for (const Value& item : *items) deepest = std::max(deepest, depth_of(item, limit - 1));
    return deepest + 1;
  }
  if (const Object* members = value.if_object()) {
    for (const auto& [name, member] : *members) deepest = std::max(deepest, depth_of(member, limit - 1));
    return deepest + 1;
  }
  return 0;
}

std::string refused_path(const Signature& call, const JsonStyle& style) {
  for (std::size_t i = 0; i < call.args.size(); ++i) {
    if (std::string found = find_refused(call.args[i], style, codec::at_index("args", i)); !found.empty()) return found;
  }
  for (const auto& [name, value] : call.kwargs) {
    if (std::string found = find_refused(value, style, codec::at_field("kwargs", name)); !found.empty()) return found;
  }
  for (const auto& [name, value] : call.options.headers) {
    if (std::string found = find_refused(value, style, codec::at_field("headers", name)); !found.empty()) return found;
  }
  return {};
}

void check_depth(const Signature& call) {
  constexpr std::size_t kDeepest = JsonLimits{}.depth - 1;  // the arguments' own array is one level
  for (std::size_t i = 0; i < call.args.size(); ++i) {
    if (depth_of(call.args[i], kDeepest + 1) > kDeepest) {
      refuse(call, codec::at_index("args", i) + ": expected nesting of at most " + std::to_string(kDeepest) +
                       " levels, which readers take; got more");
    }
  }
  for (const auto& [name, value] : call.kwargs) {
    if (depth_of(value, kDeepest + 1) > kDeepest) {
      refuse(call, codec::at_field("kwargs", name) + ": expected nesting of at most " + std::to_string(kDeepest) +
                       " levels, which readers take; got more");
    }
  }
}

void check_size(const Signature& call, const Message& message, const ClientOptions& options,
                const BrokerTraits& traits) {
  std::size_t limit = options.transport.max_message_bytes;
  std::string_view setting = "max_message_bytes";
  if (traits.max_message_bytes != 0 && (limit == 0 || traits.max_message_bytes < limit)) {
    limit = traits.max_message_bytes;
    setting = "the broker's own limit";
  }
  if (limit == 0 || message.body.size() <= limit) return;
  refuse(call, "message: expected at most " + std::to_string(limit) + " bytes (" + std::string(setting) + "), got " +
                   std::to_string(message.body.size()) + "; send a reference to the data, or set compression");
}

}  // namespace

void check_signature(Signature& call, const ClientOptions& options) { check(call, options, 0, 0); }

Message encode_call(const Signature& call, const ClientOptions& options, const BrokerTraits& traits, TimePoint now) {
  check_depth(call);
  protocol::SenderInfo sender;
  sender.now = now;
  sender.origin = protocol::sender_origin();
  sender.typed_json = options.typed_json.value_or(!traits.foreign_readers);
  sender.delivery_mode = options.persistent ? 2 : 1;
  sender.default_compression = options.compression;
  Message message;
  const JsonStyle style{.typed_bytes = sender.typed_json};
  try {
    message = protocol::encode_task(call, sender);
    // Drivers write the headers; here a mistake in one still has its name.
    if (!call.options.headers.empty()) static_cast<void>(to_json(Value(call.options.headers), style));
  } catch (const Error& error) {
    if (error.operation() != "json.write") throw;
    const std::string path = refused_path(call, style);
    refuse(call, path.empty() ? error.detail() : path + ": " + error.detail());
  }
  // Labels travel twice: as headers, which every broker carries, and as properties, where Celery's apply_async puts
  // options it does not know and where monitors written against it look for them.
  for (const auto& [name, value] : call.options.headers) {
    const bool taken =
        std::find(kStandardProperties.begin(), kStandardProperties.end(), name) != kStandardProperties.end();
    if (!taken) message.properties.set(name, value);
  }
  check_size(call, message, options, traits);
  return message;
}

}  // namespace errand::client
