#pragma once
// The Lua scripts: each is one atomic step of the broker. Strings are searched, not decoded: cjson costs two to three
// times as much per message.

#include "wire/redis/connection.hpp"

namespace errand::redis {

/// Moves due parked messages to their lists, then pops up to n messages and records them as handed out: in kombu's
/// `unacked` and `unacked_index`, so that Python workers restore them after the visibility timeout, and in our leases.
///
/// KEYS: unacked, unacked_index, leases, tokens, rubbish, owner; then for each queue: parked, its lists by step.
/// ARGV: n, owner id, heartbeat in ms, number of queues, number of steps; then the queue names.
/// Returns: {now, earliest due time or "", tag, token, queue's number from 0, envelope, ...}; times as text.
const Script& fetch_script();

/// Settles, parks, dead-letters and stores results in one step. Receipts that are no longer ours are skipped, and so
/// are the results that came with them: a late writer changes nothing.
///
/// KEYS: unacked, unacked_index, leases, rubbish.
/// ARGV: number of follow-ups, then for each: "push" | "park", list key, envelope, due time, parked key;
///       number of settlements, then for each: tag, token, op ("ack" | "requeue" | "park" | "dead"), a, b, c:
///         park: due time, parked key; dead: dead key, index key, record;
///       number of results, then for each: token (40 bits, "" for none), key, seconds to live or "0", JSON.
/// Returns the number of receipts that were skipped.
const Script& settle_script();

/// Gives back what dead owners held. KEYS: unacked, unacked_index, leases, rubbish. ARGV: prefix of owner keys, most
/// entries to look at, cursor. Returns {number restored, next cursor}.
const Script& rescue_script();

/// Renews leases. KEYS: unacked_index, leases, owner. ARGV: heartbeat in ms, then tag, token, ... Returns the number
/// that are no longer ours.
const Script& extend_script();

/// Takes dead letters out: KEYS: dead, dead index. ARGV: "requeue" | "drop", ids. Returns how many were found.
const Script& dead_script();

}  // namespace errand::redis
