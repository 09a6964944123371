#include "wire/redis/settle_call.hpp"

#include "wire/redis/scripts.gen.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>

namespace errand::redis {

namespace {

constexpr std::size_t kFenceDigits = 32;                       // base 4
constexpr std::array<char, 4> kBlanks{'\t', '\n', '\r', ' '};  // in the order of their codes
// More in one script would hold up the server's other clients for longer than some milliseconds, and Lua's stack.
constexpr std::size_t kMostAtOnce = 1'000;

void append(Commands& commands, const Write& write) {
  const char kind = static_cast<char>(write.kind);
  commands.word(std::string_view(&kind, 1)).word(write.key).word(write.score_or_field).word(write.value);
}

// One call of the script with parts of the batch. `guards`: receipts that are looked at and not settled.
void append_part(Commands& commands, const SettleCall& all, std::span<const SettleWrite* const> guards,
                 std::span<const FollowUpWrite> follow_ups, std::span<const ResultWrite> results,
                 std::span<const SettleWrite> settlements) {
  std::vector<std::string> keys;
  if (!settlements.empty() || !guards.empty()) {
    keys = {all.keys.unacked,     all.keys.unacked_index, all.keys.leases,
            all.keys.lease_index, all.keys.held,          all.keys.epoch};
  }
  commands.eval(kSettleScript, keys).word(all.owner).word(all.seconds_to_live).word(all.epoch);
  commands.word(guards.size());
  for (const SettleWrite* one : guards) commands.word(one->tag).word(one->token);
  const auto is_ack = [](const SettleWrite& one) { return one.writes.empty(); };
  const auto acks = std::count_if(settlements.begin(), settlements.end(), is_ack);
  commands.word(acks);
  for (const SettleWrite& one : settlements) {
    if (is_ack(one)) commands.word(one.tag).word(one.token);
  }
  commands.word(std::ssize(settlements) - acks);
  for (const SettleWrite& one : settlements) {
    if (is_ack(one)) continue;
    commands.word(one.tag).word(one.token).word(one.writes.size());
    for (const Write& write : one.writes) append(commands, write);
  }
  commands.word(follow_ups.size());
  for (const FollowUpWrite& one : follow_ups) {
    append(commands, one.write);
    commands.word(one.receipt);
  }
  commands.word(results.size());
  for (const ResultWrite& result : results) {
    commands.word(result.key).word(result.json + fence_of(result.token)).word(result.receipt);
  }
}

std::vector<std::uint64_t> run_part(Connection& connection, std::string_view operation, const SettleCall& all,
                                    std::span<const SettleWrite* const> guards,
                                    std::span<const FollowUpWrite> follow_ups, std::span<const ResultWrite> results,
                                    std::span<const SettleWrite> settlements) {
  Commands commands;
  append_part(commands, all, guards, follow_ups, results, settlements);
  const Effect effect = follow_ups.empty() && settlements.empty() ? Effect::repeatable : Effect::changes;
  return SettleCall::late_of(connection.eval(kSettleScript, commands, operation, effect));
}

template <class T, class F>
void in_pieces(std::span<const T> all, F&& use) {
  for (std::size_t at = 0; at < all.size(); at += kMostAtOnce) {
    use(all.subspan(at, std::min(kMostAtOnce, all.size() - at)));
  }
}

// The receipts that a piece depends on: they have to be ours when it is written, although they are settled later.
template <class T>
std::vector<const SettleWrite*> guards_of(std::span<const T> piece, const std::vector<SettleWrite>& settlements) {
  std::set<std::uint64_t> tokens;
  for (const T& one : piece) tokens.insert(one.receipt);
  std::vector<const SettleWrite*> guards;
  for (const SettleWrite& one : settlements) {
    if (tokens.count(one.token) > 0) guards.push_back(&one);
  }
  return guards;
}

}  // namespace

bool SettleCall::fits(std::size_t most) noexcept { return most <= kMostAtOnce; }

bool SettleCall::only_ends() const noexcept {
  return follow_ups.empty() &&
         std::all_of(settlements.begin(), settlements.end(), [](const SettleWrite& one) { return one.writes.empty(); });
}

void SettleCall::append(Commands& commands) const {
  append_part(commands, *this, {}, follow_ups, results, settlements);
}

std::vector<std::uint64_t> SettleCall::late_of(const Reply& reply) {
  std::vector<std::uint64_t> late;
  for (const Reply& token : reply.elements) late.push_back(std::stoull(token.text));
  return late;
}

std::vector<std::uint64_t> SettleCall::run(Connection& connection, std::string_view operation) const {
  const std::size_t most = std::max({follow_ups.size(), results.size(), settlements.size()});
  if (most == 0) return {};
  if (fits(most)) return run_part(connection, operation, *this, {}, follow_ups, results, settlements);
  std::vector<std::uint64_t> late;
  in_pieces<FollowUpWrite>(follow_ups, [&](auto part) {
    run_part(connection, operation, *this, guards_of(part, settlements), part, {}, {});
  });
  in_pieces<ResultWrite>(
      results, [&](auto part) { run_part(connection, operation, *this, guards_of(part, settlements), {}, part, {}); });
  in_pieces<SettleWrite>(settlements, [&](auto part) {
    const std::vector<std::uint64_t> some = run_part(connection, operation, *this, {}, {}, {}, part);
    late.insert(late.end(), some.begin(), some.end());
  });
  return late;
}

std::string fence_of(std::uint64_t token) {
  if (token == 0) return {};
  std::string out(kFenceDigits, kBlanks[0]);
  for (std::size_t i = kFenceDigits; i-- > 0; token >>= 2) out[i] = kBlanks[token & 3];
  return out;
}

std::uint64_t token_of_fence(std::string_view record) noexcept {
  if (record.size() < kFenceDigits) return 0;
  std::uint64_t token = 0;
  for (const char c : record.substr(record.size() - kFenceDigits)) {
    const auto digit = std::find(kBlanks.begin(), kBlanks.end(), c);
    if (digit == kBlanks.end()) return 0;
    token = token << 2 | static_cast<std::uint64_t>(digit - kBlanks.begin());
  }
  return token;
}

}  // namespace errand::redis
