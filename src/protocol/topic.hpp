#pragma once
// Names of kombu's Redis transport: bindings, topic patterns, priority steps, keys (celery-wire 2.2, 2.3, 2.8).
//
// Every key or member that Python also reads or writes is spelled here and nowhere else.

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace errand::protocol {

/// What kombu puts between the parts of a binding and between a queue and its priority step.
inline constexpr std::string_view kSeparator{"\x06\x16", 2};
inline constexpr std::array<int, 4> kDefaultPrioritySteps{0, 3, 6, 9};

/// The regular expression Python evaluates for a topic key: "task.#" gives "^task\..*?$".
std::string topic_pattern(std::string_view key);

/// Does the routing key match the topic key with kombu's meaning? It differs from RabbitMQ's: `#` beside a dot does
/// not match nothing (task.# does not match task), and `*` may span dots but not end in one.
bool topic_matches(std::string_view key, std::string_view routing_key);

/// One member of _kombu.binding.<exchange>.
struct Binding {
  std::string routing_key;
  std::string pattern;
  std::string queue;
  friend bool operator==(const Binding&, const Binding&) = default;
};
std::string format_binding(const Binding& binding);
/// nullopt: not three parts.
std::optional<Binding> parse_binding(std::string_view member);

/// The queue a binding sends this key to? For direct: equal keys; topic: by pattern; fanout: always.
bool binding_matches(std::string_view exchange_type, const Binding& binding, std::string_view routing_key);

/// The largest step that is not above the priority, which is first brought into 0 to 9. `steps` is ascending and
/// begins with 0.
int priority_step(int priority, std::span<const int> steps = kDefaultPrioritySteps) noexcept;

/// List key of a queue at a step: the plain name at step 0, else name + separator + step.
std::string queue_key(std::string_view queue, int step);
std::string binding_key(std::string_view exchange);                           ///< _kombu.binding.<exchange>
std::string result_key(std::string_view task_id);                             ///< celery-task-meta-<id>
std::string group_key(std::string_view group, std::string_view suffix = "");  ///< celery-taskset-meta-<gid><suffix>

/// Pub/sub channel of a fanout exchange: "/<db>.<exchange>" or "/<db>.<exchange>/<routing key>".
std::string fanout_channel(int database, std::string_view exchange, std::string_view routing_key);
/// What a subscriber gives to PSUBSCRIBE: the channel with `#` as `*`.
std::string fanout_pattern(int database, std::string_view exchange, std::string_view routing_key);

}  // namespace errand::protocol
