#pragma once
// SettleCall: builds the one call of settle.lua that makes a batch's outcome safe: follow-ups, results, settlements.
//
// The script is shared because two drivers need the same step: the broker's consumer for whole batches, the result
// backend for results alone. Neither tasks nor messages are known here, only keys and texts.

#include "wire/redis/connection.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace errand::redis {

/// One write of the script.
struct Write {
  enum class Kind : char { push_back = 'L', push_front = 'R', add_scored = 'Z', set_field = 'H' };
  Kind kind = Kind::push_back;  ///< back of the line: LPUSH, for lists are popped at their right end
  std::string key;
  std::string score_or_field;
  std::string value;
};

/// One result record to be stored and published.
struct ResultWrite {
  std::string key;
  std::string json;
  std::uint64_t token = 0;  ///< fences: never replaces a record with a greater one; 0: none
  std::uint64_t receipt =
      0;  ///< token of the delivery it belongs to: not stored when that is not ours any more; 0: none
};

/// A write that follows from a delivery, and that delivery's token as in ResultWrite.
struct FollowUpWrite {
  Write write;
  std::uint64_t receipt = 0;
};

/// A receipt to settle: gone when it has no writes, else moved by them.
struct SettleWrite {
  std::string tag;
  std::uint64_t token = 0;
  std::vector<Write> writes;
};

/// Keys of the tables that settlements touch.
struct SettleKeys {
  std::string unacked, unacked_index, leases, lease_index, held, epoch;
};

struct SettleCall {
  SettleKeys keys;
  std::string owner;
  std::string epoch;                  ///< of the server's data when the deliveries were taken
  std::string seconds_to_live = "0";  ///< of results; "0": for ever
  std::vector<FollowUpWrite> follow_ups;
  std::vector<ResultWrite> results;
  std::vector<SettleWrite> settlements;

  /// Sends it. Returns the tokens of the settlements that were not ours any more.
  std::vector<std::uint64_t> run(Connection& connection, std::string_view operation) const;

  /// As many of each kind are not too many for one call of the script, which append() writes.
  static bool fits(std::size_t most) noexcept;
  void append(Commands& commands) const;
  /// It sends nothing and moves nothing.
  bool only_ends() const noexcept;
  /// What the answer to that call says, as run() does.
  static std::vector<std::uint64_t> late_of(const Reply& reply);
};

/// A delivery's token as 32 blanks that follow a record's JSON: readers of JSON skip them, and a writer with an older
/// token is recognised by comparing texts. "" for 0.
std::string fence_of(std::uint64_t token);
/// The token behind the record; 0: none.
std::uint64_t token_of_fence(std::string_view record) noexcept;

}  // namespace errand::redis
