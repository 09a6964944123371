#include "protocol/call_message.hpp"

#include "protocol/canvas.hpp"
#include "protocol/compression.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/saferepr.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

namespace errand::protocol {
namespace {

using canvas::option;
using canvas::text_option;

// Options that have a place of their own. What is not here travels as a message property, as in Python.
constexpr std::array<std::string_view, 40> kConsumed{"task_id",         "reply_to",      "root_id",
                                                     "parent_id",       "group_id",      "group_index",
                                                     "chord",           "chain",         "link",
                                                     "link_error",      "queue",         "exchange",
                                                     "routing_key",     "priority",      "expires",
                                                     "countdown",       "eta",           "serializer",
                                                     "compression",     "time_limit",    "soft_time_limit",
                                                     "retries",         "shadow",        "headers",
                                                     "ignore_result",   "add_to_parent", "replaced_task_nesting",
                                                     "stamped_headers", "stamps",        "producer",
                                                     "publisher",       "connection",    "router",
                                                     "exchange_type",   "declare",       "retry",
                                                     "retry_policy",    "delivery_mode", "argsrepr",
                                                     "kwargsrepr"};

[[noreturn]] void wrong(std::string_view name, std::string_view expected, const Value& got) {
  throw DecodeFailure(reason::bad_body, "signature.options." + std::string(name),
                      "expected " + std::string(expected) + ", got " + std::string(kind_name(got.kind())));
}

std::optional<double> seconds(const Value& signature, std::string_view name) {
  const Value* value = option(signature, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_integer() && !value->is_number()) wrong(name, "seconds or null", *value);
  const double given = value->as_number();
  if (std::isnan(given)) wrong(name, "seconds or null", *value);
  return given;
}

TimePoint later(TimePoint now, double by) {
  const double most = static_cast<double>(kLongestLimit.count()) / 1000;
  return now + Microseconds{std::llround(std::clamp(by, -most, most) * 1e6)};
}

// eta and expires may be ISO text, which is kept as it is; expires may also be seconds from now.
std::optional<TimePoint> time_option(const Value& signature, std::string_view name, TimePoint now, std::string& text) {
  const Value* value = option(signature, name);
  if (value == nullptr) return std::nullopt;
  if (const std::string* iso = value->if_text()) {
    const auto time = read_time(*iso);
    if (!time) wrong(name, "ISO 8601 time", *value);
    text = *iso;
    return time;
  }
  const TimePoint time = later(now, *seconds(signature, name));
  text = write_time(time);
  return time;
}

Value or_null(const Value* value) { return value == nullptr ? Value() : *value; }
Value text_or_null(std::string_view text) { return text.empty() ? Value() : Value(text); }

// The stamps of a signature: the names in stamped_headers, which stand beside them as options.
void lift_stamps(const Value& signature, Object& headers, std::vector<std::string>& names) {
  const Value* listed = option(signature, "stamped_headers");
  headers.set("stamped_headers", or_null(listed));
  Object stamps;
  if (listed != nullptr) {
    if (!listed->is_array()) wrong("stamped_headers", "array of text", *listed);
    for (const Value& name : listed->as_array()) {
      if (name.if_text() == nullptr) wrong("stamped_headers", "array of text", name);
      names.push_back(name.as_text());
      if (const Value* stamp = option(signature, name.as_text())) stamps.set(name.as_text(), *stamp);
    }
  }
  headers.set("stamps", Value(std::move(stamps)));
}

Route route_of(const Value& signature, const CallContext& context, std::string_view task) {
  if (const std::string queue = text_option(signature, "queue"); !queue.empty()) return {"", queue};
  const std::string exchange = text_option(signature, "exchange");
  const std::string routing_key = text_option(signature, "routing_key");
  // As in Celery: only both together name a route.
  if (!exchange.empty() && !routing_key.empty()) return {exchange, routing_key};
  return context.route ? context.route(task) : Route{"", "celery"};
}

std::string args_text(const Array& args, const CallContext& context, bool with_first) {
  if (!with_first) return args_repr(args);
  Array all;
  all.reserve(args.size() + 1);
  all.push_back(context.first_value);
  all.insert(all.end(), args.begin(), args.end());
  return args_repr(all);
}

// root_id or parent_id of the new message.
Value lineage(const Value& signature, std::string_view name, const std::string& given) {
  return given.empty() ? or_null(option(signature, name)) : Value(given);
}

}  // namespace

Envelope call_message(const Value& signature, const CallContext& context) {
  canvas::require_signature(signature);
  const std::string& task = signature.find("task")->as_text();
  const Value* args_value = signature.find("args");
  const Value* kwargs_value = signature.find("kwargs");
  const Array no_args;
  const Object no_kwargs;
  const Array& args = args_value != nullptr && args_value->is_array() ? args_value->as_array() : no_args;
  const Object& kwargs = kwargs_value != nullptr && kwargs_value->is_object() ? kwargs_value->as_object() : no_kwargs;
  const bool with_first = !context.first_arg.empty() && !canvas::immutable(signature);
  const std::string id = text_option(signature, "task_id");

  std::string eta_text, expires_text;
  std::optional<TimePoint> eta = time_option(signature, "eta", context.now, eta_text);
  if (const auto countdown = seconds(signature, "countdown"); countdown && *countdown > 0) {
    eta = later(context.now, *countdown);
    eta_text = write_time(*eta);
  }
  const std::optional<TimePoint> expires = time_option(signature, "expires", context.now, expires_text);

  Envelope out;
  Object& headers = out.message.headers;
  std::vector<std::string> stamp_names;
  headers.set("lang", "cpp");
  headers.set("task", task);
  headers.set("id", id);
  headers.set("shadow", or_null(option(signature, "shadow")));
  headers.set("eta", text_or_null(eta_text));
  headers.set("expires", text_or_null(expires_text));
  headers.set("group", or_null(option(signature, "group_id")));
  headers.set("group_index", or_null(option(signature, "group_index")));
  const Value* retries = option(signature, "retries");
  headers.set("retries", retries != nullptr && retries->is_integer() ? *retries : Value(0));
  headers.set("timelimit",
              Value::array({or_null(option(signature, "time_limit")), or_null(option(signature, "soft_time_limit"))}));
  const Value root = lineage(signature, "root_id", context.root_id);
  headers.set("root_id", root.is_null() ? Value(id) : root);
  headers.set("parent_id", lineage(signature, "parent_id", context.parent_id));
  const std::string args_shown = text_option(signature, "argsrepr");
  const std::string kwargs_shown = text_option(signature, "kwargsrepr");
  headers.set("argsrepr", args_shown.empty() ? args_text(args, context, with_first) : args_shown);
  headers.set("kwargsrepr", kwargs_shown.empty() ? kwargs_repr(kwargs) : kwargs_shown);
  headers.set("origin", Value(context.origin));
  const Value* ignore = option(signature, "ignore_result");
  headers.set("ignore_result", ignore != nullptr ? *ignore : Value(false));
  const Value* nesting = option(signature, "replaced_task_nesting");
  headers.set("replaced_task_nesting", nesting != nullptr ? *nesting : Value(0));
  lift_stamps(signature, headers, stamp_names);
  if (const Value* custom = option(signature, "headers")) {
    if (!custom->is_object()) wrong("headers", "object or null", *custom);
    for (const auto& [name, value] : custom->as_object()) headers.set(name, value);
  }

  Object& properties = out.message.properties;
  properties.set("correlation_id", id);
  const std::string reply_to = text_option(signature, "reply_to");
  properties.set("reply_to", reply_to.empty() ? std::string(context.reply_to) : reply_to);
  if (expires) {
    const auto left = std::chrono::floor<Milliseconds>(*expires - context.now).count();
    properties.set("expiration", std::to_string(std::max<std::int64_t>(0, left)));
  }
  properties.set("delivery_mode", 2);
  out.priority = context.priority;
  if (out.priority < 0) {
    const Value* own = option(signature, "priority");
    out.priority =
        own != nullptr && own->is_integer() ? static_cast<int>(std::clamp<std::int64_t>(own->as_integer(), 0, 9)) : 0;
  }
  properties.set("priority", out.priority);
  if (const Value* options = signature.find("options"); options != nullptr && options->is_object()) {
    for (const auto& [name, value] : options->as_object()) {
      const bool consumed = value.is_null() || std::find(kConsumed.begin(), kConsumed.end(), name) != kConsumed.end() ||
                            std::find(stamp_names.begin(), stamp_names.end(), name) != stamp_names.end();
      if (!consumed && !properties.contains(name)) properties.set(name, value);
    }
  }

  Embed embed;
  embed.callbacks = canvas::signature_list(option(signature, "link"));
  embed.errbacks = canvas::signature_list(option(signature, "link_error"));
  embed.chain = context.chain != nullptr ? *context.chain : canvas::signature_list(option(signature, "chain"));
  if (const Value* chord = option(signature, "chord")) {
    if (!chord->is_object()) wrong("chord", "object or null", *chord);
    embed.chord = *chord;
  }
  out.message.body =
      join_body(with_first ? context.first_arg : "", to_json(Value(args)), to_json(Value(kwargs)), embed);
  if (const auto method = find_compression(text_option(signature, "compression"))) {
    std::string packed = compress(*method, out.message.body);
    if (!too_good(packed.size(), out.message.body.size())) {
      out.message.body = std::move(packed);
      headers.set("compression", Value(mime_name(*method)));
    }
  }
  // `map` and `starmap` run another task inside; where that one lives decides.
  std::string_view routed = task;
  if (task == "celery.map" || task == "celery.starmap") {
    const Value* inner = kwargs.find("task");
    const Value* name = inner != nullptr ? inner->find("task") : nullptr;
    if (name != nullptr && name->if_text() != nullptr) routed = name->as_text();
  }
  out.route = route_of(signature, context, routed);
  if (context.park) out.not_before = eta;
  return out;
}

}  // namespace errand::protocol
