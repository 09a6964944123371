#include "brokers/redis/stored.hpp"

#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"
#include "protocol/topic.hpp"

#include <algorithm>
#include <charconv>

namespace errand::redis {

LeaseRecord parse_lease(std::string_view record) noexcept {
  LeaseRecord out;
  const std::size_t a = record.find('|');
  const std::size_t b = a == std::string_view::npos ? a : record.find('|', a + 1);
  if (b == std::string_view::npos) return out;
  const std::string_view token = record.substr(0, a);
  std::from_chars(token.data(), token.data() + token.size(), out.token);
  out.list = record.substr(b + 1);
  return out;
}

std::string_view queue_of_list(const Keys& keys, std::string_view list) noexcept {
  list.remove_prefix(std::min(keys.prefix().size(), list.size()));
  return list.substr(0, list.find(protocol::kSeparator));
}

std::string_view stored_envelope(std::string_view stored, std::string_view queue) {
  // fetch.lua writes exchange "" and the queue's name without blanks; Python writes what the sender gave.
  const std::string tail = ",\"\"," + to_json(Value(queue)) + "]";
  if (stored.starts_with('[') && stored.ends_with(tail)) return stored.substr(1, stored.size() - 1 - tail.size());
  try {
    return protocol::read_unacked(stored).envelope;
  } catch (const protocol::DecodeFailure&) {
    return stored;
  }
}

std::string with_senders_tag(std::string_view envelope, std::string_view tag) {
  constexpr std::size_t kUuid = 36;
  std::string out(envelope);
  const std::size_t mark = tag.rfind('!');
  if (mark == std::string_view::npos || tag.size() < mark + 1 + kUuid + 2 || tag[mark + 1 + kUuid] != '-') return out;
  const std::string quoted = '"' + std::string(tag) + '"';
  const std::size_t at = out.find(quoted);
  if (at != std::string::npos) out.erase(at + 1 + mark, tag.size() - mark);
  return out;
}

}  // namespace errand::redis
