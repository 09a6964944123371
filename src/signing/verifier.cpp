#include "signing/verifier.hpp"

#include "core/iso8601.hpp"
#include "core/text.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/task_message.hpp"
#include "signing/rules.hpp"

#include <errand/error.hpp>

#include <algorithm>

namespace errand::signing {

namespace {

[[noreturn]] void wrong(std::string subject, std::string detail) {
  throw Error(
      {.kind = ErrorKind::invalid, .operation = "signing", .subject = std::move(subject), .detail = std::move(detail)});
}

Verdict refuse(std::string_view reason, std::string detail) { return {reason, std::move(detail), {}}; }

// As the worker will read it: protocol 1 names the task in the body.
std::string task_of(const Message& message) {
  if (message.headers.contains("task")) return protocol::text_or_empty(message.headers, "task");
  try {
    return protocol::decode_task(message).task;
  } catch (const protocol::DecodeFailure&) {
    return {};  // no worker runs it
  }
}

std::string seconds(Microseconds time) { return core::format_duration(std::chrono::floor<std::chrono::seconds>(time)); }

}  // namespace

Verifier::Verifier(const SigningOptions& options) : options_(options), strictest_(options.policy) {
  for (const auto& [queue, policy] : options_.queues) strictest_ = std::max(strictest_, policy);
  for (const auto& [id, file] : options_.trusted) {
    if (!is_key_id(id)) {
      wrong("trusted",
            "expected ids of 1 to 64 letters, digits, '.', '_' and '-', got '" + protocol::printable(id) + "'");
    }
    keys_.emplace(id, PublicKey::read(file));
  }
  if (keys_.empty()) wrong("trusted", "expected at least one key where signatures are looked at, got none");
  for (const TaskSigners& rule : options_.allowed) {
    for (const std::string& id : rule.key_ids) {
      if (!keys_.contains(id))
        wrong("allow", "'" + rule.pattern + "' names the key '" + id + "', which is not trusted");
    }
  }
}

SignaturePolicy Verifier::policy(std::string_view queue) const {
  const auto own = options_.queues.find(std::string(queue));
  return own == options_.queues.end() ? options_.policy : own->second;
}

Verdict Verifier::judge(const Message& message, const Route& route, std::string_view queue, TimePoint now) const {
  const SignaturePolicy policy = this->policy(queue);
  if (policy == SignaturePolicy::off) return {};
  const TaskSigners* signers = options_.allowed.empty() ? nullptr : rule_for(options_.allowed, task_of(message));
  Verdict verdict = judge_by(policy, options_.max_age, signers, message, route, now);
  if (!verdict.refused.empty() || verdict.nonce.empty()) return verdict;
  if (!route.exchange.empty()) {
    // Another exchange may deliver one sending to several queues, and each runs it.
    verdict.nonce += ";" + std::string(queue);
  } else if (route.routing_key != queue) {
    // The default exchange delivers to the queue of that name, so another queue means that somebody has moved it.
    return refuse(reason::invalid,
                  "it was sent to the queue '" + protocol::printable(route.routing_key) + "' and lies in another");
  }
  return verdict;
}

Verdict Verifier::judge_command(const Message& message, const Route& route, TimePoint now) const {
  if (strictest_ == SignaturePolicy::off) return {};
  return judge_by(strictest_, options_.replay_window, rule_for(options_.allowed, ""), message, route, now);
}

Verdict Verifier::judge_by(SignaturePolicy policy, Milliseconds max_age, const TaskSigners* signers,
                           const Message& message, const Route& route, TimePoint now) const {
  const Value* given = message.headers.find(kSignatureHeader);
  if (given == nullptr || given->is_null()) {
    if (policy == SignaturePolicy::accept && signers == nullptr) return {};
    return refuse(reason::missing, signers == nullptr ? "its queue requires a signature"
                                                      : "only some keys may send this task, and it has no signature");
  }
  const auto header = given->if_text() == nullptr ? std::nullopt : parse_header(*given->if_text());
  if (!header) return refuse(reason::malformed, "expected 1;KEY;ALGORITHM;TIME;NONCE;SIGNATURE, got something else");
  const auto key = keys_.find(header->key_id);
  if (key == keys_.end()) {
    return refuse(reason::unknown_key, "signed with the key '" + header->key_id + "', which is not trusted here");
  }
  bool right = false;
  if (key->second.algorithm() == header->algorithm) {
    try {
      right = key->second.verifies(signed_bytes(message, route, *header), header->signature);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::bug) throw;  // ours, not the message's
    }
  }
  if (!right) {
    return refuse(reason::invalid,
                  "it is not what was signed with the key '" + header->key_id + "', or not by that key");
  }
  if (signers != nullptr && !names_key(*signers, header->key_id)) {
    return refuse(reason::not_allowed,
                  "the key '" + header->key_id + "' may not send this task; the rule is '" + signers->pattern + "'");
  }
  if (header->issued > now + options_.replay_window) {
    return refuse(reason::early, "signed " + seconds(header->issued - now) + " in the future; compare the clocks");
  }
  TimePoint since = header->issued;
  if (const auto eta = core::parse_iso8601(protocol::text_or_empty(message.headers, "eta")))
    since = std::max(since, *eta);
  if (max_age > Milliseconds{0} && since < now - max_age) {
    return refuse(reason::expired, "due " + seconds(now - since) + " ago, limit " + core::format_duration(max_age));
  }
  return {.refused = {}, .detail = {}, .nonce = header->key_id + ";" + header->nonce, .key_id = header->key_id};
}

}  // namespace errand::signing
