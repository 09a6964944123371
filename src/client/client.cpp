// Client: check, route, encode, publish. No stage calls an earlier one.
#include <errand/client.hpp>

#include "client/checks.hpp"
#include "client/core.hpp"
#include "client/routes.hpp"
#include "core/failpoint.hpp"
#include "core/uuid.hpp"
#include "protocol/signature_json.hpp"

#include <set>
#include <utility>

namespace errand {

namespace {

constexpr std::size_t kMostAtOnce = 100'000;  // messages of one send_many

void route_followers(Signature& call, const ClientOptions& options) {
  for (auto* calls : {&call.chain, &call.link, &call.link_error}) {
    for (Signature& later : *calls) {
      client::route_later(later, options);
      route_followers(later, options);
    }
  }
}

// Ids of the call and of its chain in the order they run; the last is the one whose result is that of the whole.
std::vector<TaskId> ids_of(const Signature& call) {
  std::vector<TaskId> ids{call.options.task_id};
  for (const Signature& step : call.chain) {
    for (TaskId& id : ids_of(step)) ids.push_back(std::move(id));
  }
  return ids;
}

const Signature& last_step(const Signature& call) { return call.chain.empty() ? call : last_step(call.chain.back()); }

}  // namespace

Client::Client(ClientOptions options, ClientConnections connections) {
  ERRAND_ARM_FAILPOINTS();
  client::check_queue_name(options.default_queue);
  core_ = std::make_shared<client::Core>(std::move(options), std::move(connections));
}
Client::~Client() = default;

const ClientOptions& Client::options() const noexcept { return core_->options(); }

AsyncResult Client::send(Signature call) {
  std::vector<Signature> one;
  one.push_back(std::move(call));
  return std::move(send_many(std::move(one)).front());
}

std::vector<AsyncResult> Client::send_many(std::vector<Signature> calls) {
  std::vector<AsyncResult> results;
  if (calls.empty()) return results;
  if (calls.size() > kMostAtOnce) {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "send",
                 .detail = "expected at most " + std::to_string(kMostAtOnce) + " calls at once, got " +
                           std::to_string(calls.size())});
  }
  const ClientOptions& options = core_->options();
  for (Signature& call : calls) client::check_signature(call, options);
  const BrokerTraits traits = core_->publisher().traits();
  const TimePoint now = core_->clock().now();
  std::vector<Envelope> envelopes;
  std::set<std::string> queues;
  envelopes.reserve(calls.size());
  results.reserve(calls.size());
  for (Signature& call : calls) {
    Envelope envelope;
    envelope.route = client::route_call(call, options);
    route_followers(call, options);
    protocol::freeze(call);
    envelope.message = client::encode_call(call, options, traits, now);
    envelope.priority = call.options.priority.value_or(0);
    const std::optional<TimePoint> due = call.options.countdown ? now + *call.options.countdown : call.options.eta;
    // Parked only where nobody but Errand reads: a Python worker would never find a parked message.
    if (due && *due > now && traits.parks && !traits.foreign_readers) envelope.not_before = due;
    if (envelope.route.exchange.empty()) queues.insert(envelope.route.routing_key);
    envelopes.push_back(std::move(envelope));

    std::vector<TaskId> ids = ids_of(call);
    TaskId last = std::move(ids.back());
    ids.pop_back();
    results.push_back(
        AsyncResult(core_, std::move(last), !last_step(call).options.ignore_result.value_or(false), std::move(ids)));
  }
  core_->publisher().publish(envelopes, queues);
  return results;
}

GroupResult Client::send_group(std::vector<Signature> members) {
  const std::string id = core::uuid4();
  std::int64_t index = 0;
  for (Signature& member : members) {
    // Of a chain, the last step is the member.
    Signature* last = &member;
    while (!last->chain.empty()) last = &last->chain.back();
    last->options.group_id = id;
    last->options.group_index = index++;
  }
  return GroupResult(core_, id, send_many(std::move(members)));
}

AsyncResult Client::result(TaskId id) const { return AsyncResult(core_, std::move(id), true, {}); }

std::optional<GroupResult> Client::group(const std::string& id) const {
  const auto members = core_->with_backend(Deadline::after(client::Core::kLookup), id,
                                           [&](ResultBackend& backend) { return backend.get_group(id); });
  if (!members) return std::nullopt;
  std::vector<AsyncResult> results;
  for (const TaskId& member : *members) results.push_back(result(member));
  return GroupResult(core_, id, std::move(results));
}

void Client::revoke(std::span<const TaskId> ids, bool terminate, std::string_view signal) {
  core_->revoke(ids, terminate, signal);
}

}  // namespace errand
