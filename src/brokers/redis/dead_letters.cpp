#include "brokers/redis/dead_letters.hpp"

#include "core/text.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/envelope.hpp"

#include <errand/error.hpp>

namespace errand::redis {

std::string encode_dead(const Settlement& settlement, const Marks& marks, TimePoint now, std::string_view list,
                        std::string_view envelope) {
  const std::int64_t now_us = now.time_since_epoch().count();
  const Value facts = Value::object({{"reason", settlement.reason},
                                     {"detail", core::shorten(settlement.detail, kMostDeadDetail)},
                                     {"deliveries", static_cast<std::int64_t>(marks.deliveries)},
                                     {"first_seen_us", marks.first_seen_us != 0 ? marks.first_seen_us : now_us},
                                     {"last_seen_us", now_us}});
  std::string record = to_json(facts);
  record += '\n';
  record += list;
  record += '\n';
  record += without_marks(envelope);
  return record;
}

DeadLetter decode_dead(std::string_view queue, std::string_view id, std::string_view record) {
  DeadLetter letter;
  letter.id = id;
  letter.queue = queue;
  const std::size_t a = record.find('\n');
  const std::size_t b = a == std::string_view::npos ? a : record.find('\n', a + 1);
  letter.raw = b == std::string_view::npos ? record : record.substr(b + 1);
  const auto text = [](const Value* value) {
    return value != nullptr && value->if_text() != nullptr ? *value->if_text() : std::string();
  };
  try {
    const Value facts = parse_json(record.substr(0, a == std::string_view::npos ? 0 : a));
    const auto number = [&](std::string_view key) {
      const Value* value = facts.find(key);
      return value != nullptr && value->if_integer() != nullptr ? *value->if_integer() : std::int64_t{0};
    };
    letter.reason = text(facts.find("reason"));
    letter.detail = text(facts.find("detail"));
    letter.deliveries = static_cast<std::uint32_t>(number("deliveries"));
    letter.first_seen = TimePoint{Microseconds{number("first_seen_us")}};
    letter.last_seen = TimePoint{Microseconds{number("last_seen_us")}};
  } catch (const Error&) {
    letter.detail = "the record beside these bytes is damaged";
  }
  try {
    const protocol::StoredMessage stored = protocol::read_envelope(letter.raw);
    letter.task = text(stored.message.headers.find("task"));
    letter.task_id = text(stored.message.headers.find("id"));
  } catch (const protocol::DecodeFailure&) {
    // That is why it is here.
  }
  return letter;
}

}  // namespace errand::redis
