#include "brokers/redis/marks.hpp"

#include "protocol/decode_failure.hpp"
#include "protocol/json_slice.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace errand::redis {

namespace {

constexpr std::string_view kRedelivered = R"("redelivered": true)";
constexpr std::string_view kDeliveries = "errand_deliveries";
constexpr std::string_view kFirstSeen = "errand_first_seen";

// Value of a member of the object that `json` is; the last one, as everywhere.
std::optional<std::string_view> member(std::string_view json, std::string_view wanted) {
  std::optional<std::string_view> found;
  protocol::JsonCursor cursor(json, "envelope");
  cursor.expect('{');
  if (cursor.take('}')) return found;
  do {
    const std::string_view key = cursor.raw_string();
    cursor.expect(':');
    const std::string_view value = cursor.value();
    if (key == wanted) found = value;
  } while (cursor.take(','));
  return found;
}

// Our marks at the beginning of an object, ending before what follows them.
std::size_t own_length(std::string_view object) {
  std::string_view rest = object.substr(1);
  if (rest.starts_with(kRedelivered)) {
    rest.remove_prefix(kRedelivered.size());
  } else if (rest.starts_with("\"errand_deliveries\": ")) {
    const std::size_t second = rest.find(kFirstSeen);
    const std::size_t stop = second == std::string_view::npos ? second : rest.find_first_of(",}", second);
    if (stop == std::string_view::npos) return 0;
    rest.remove_prefix(stop);
  } else {
    return 0;
  }
  if (rest.starts_with(", ")) rest.remove_prefix(2);
  return object.size() - 1 - rest.size();
}

struct Edit {
  std::size_t at;      // behind the opening brace
  std::size_t length;  // of our old marks
  std::string text;    // new marks
};

std::string edited(std::string_view envelope, const Marks* marks) {
  std::vector<Edit> edits;
  const auto plan = [&](std::optional<std::string_view> object, const std::string& text) {
    if (!object || object->empty() || object->front() != '{') return;
    Edit edit{static_cast<std::size_t>(object->data() - envelope.data()) + 1, own_length(*object), text};
    const std::string_view rest = object->substr(1 + edit.length);
    const bool empty = rest[std::min(rest.find_first_not_of(" \t\r\n"), rest.size() - 1)] == '}';
    if (!text.empty() && !empty) edit.text += ", ";
    edits.push_back(std::move(edit));
  };
  try {
    const auto properties = member(envelope, "properties");
    plan(member(envelope, "headers"), marks != nullptr ? std::string(kRedelivered) : "");
    if (properties && !properties->empty() && properties->front() == '{') {
      plan(properties, marks == nullptr
                           ? ""
                           : "\"" + std::string(kDeliveries) + "\": " + std::to_string(marks->deliveries) + ", \"" +
                                 std::string(kFirstSeen) + "\": " + std::to_string(marks->first_seen_us));
      plan(member(*properties, "delivery_info"), marks != nullptr ? std::string(kRedelivered) : "");
    }
  } catch (const protocol::DecodeFailure&) {
    return std::string(envelope);
  }
  std::sort(edits.begin(), edits.end(), [](const Edit& a, const Edit& b) { return a.at < b.at; });
  std::string out;
  out.reserve(envelope.size() + 160);
  std::size_t from = 0;
  for (const Edit& edit : edits) {
    out += envelope.substr(from, edit.at - from);
    out += edit.text;
    from = edit.at + edit.length;
  }
  out += envelope.substr(from);
  return out;
}

std::int64_t take_number(Object& properties, std::string_view key) {
  const Value* value = properties.find(key);
  if (value == nullptr) return 0;
  const std::int64_t* number = value->if_integer();
  const std::int64_t out = number != nullptr ? std::max<std::int64_t>(*number, 0) : 0;
  properties.erase(key);
  return out;
}

}  // namespace

std::string with_marks(std::string_view envelope, const Marks& marks) { return edited(envelope, &marks); }
std::string without_marks(std::string_view envelope) { return edited(envelope, nullptr); }

Marks take_marks(Object& properties) {
  constexpr std::int64_t kMost = 1'000'000'000;
  Marks marks;
  marks.deliveries = static_cast<std::uint32_t>(std::min(take_number(properties, kDeliveries), kMost));
  marks.first_seen_us = take_number(properties, kFirstSeen);
  return marks;
}

}  // namespace errand::redis
