#include "protocol/topic.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace errand::protocol {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

// kombu escapes whatever is neither a letter nor a digit (kombu/utils/text.py escape_regex), but leaves # and *.
// The text must be equal to Python's: it is part of a set member that both sides add and remove.
void append_escaped(std::string& out, std::string_view word) {
  for (const char c : word) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '#' ||
                       c == '*' || static_cast<unsigned char>(c) >= 0x80;
    if (!plain) out += '\\';
    if (c == '\0') {
      out += "000";
    } else {
      out += c;
    }
  }
}

}  // namespace

std::string topic_pattern(std::string_view key) {
  std::string out = "^";
  bool first = true;
  for (const std::string_view word : split(key, '.')) {
    if (!first) out += "\\.";
    first = false;
    if (word == "#") {
      out += ".*?";
    } else if (word == "*") {
      out += ".*?[^\\.]";
    } else {
      append_escaped(out, word);
    }
  }
  out += '$';
  return out;
}

bool topic_matches(std::string_view key, std::string_view routing_key) {
  // The pattern's words in turn, over the set of places of the routing key where the words so far may end: linear in
  // both lengths, where backtracking over hostile keys would not be.
  const std::size_t size = routing_key.size();
  std::vector<char> here(size + 1, 0);
  here[0] = 1;
  bool first = true;
  for (const std::string_view word : split(key, '.')) {
    std::vector<char> next(size + 1, 0);
    if (!first) {
      for (std::size_t i = 0; i < size; ++i) next[i + 1] = static_cast<char>(here[i] != 0 && routing_key[i] == '.');
      here.swap(next);
      std::fill(next.begin(), next.end(), char{0});
    }
    first = false;
    if (word == "#" || word == "*") {
      bool reached = false;
      for (std::size_t i = 0; i <= size; ++i) {
        if (word == "#") {
          reached = reached || here[i] != 0;
          next[i] = static_cast<char>(reached);
        } else {
          // At least one character, and the last one is no dot.
          next[i] = static_cast<char>(reached && routing_key[i - 1] != '.');
          reached = reached || here[i] != 0;
        }
      }
    } else {
      for (std::size_t i = 0; i + word.size() <= size; ++i) {
        if (here[i] != 0 && routing_key.substr(i, word.size()) == word) next[i + word.size()] = 1;
      }
    }
    here.swap(next);
  }
  return here[size] != 0;
}

std::string format_binding(const Binding& binding) {
  std::string out = binding.routing_key;
  out += kSeparator;
  out += binding.pattern;
  out += kSeparator;
  out += binding.queue;
  return out;
}

std::optional<Binding> parse_binding(std::string_view member) {
  const std::size_t first = member.find(kSeparator);
  if (first == std::string_view::npos) return std::nullopt;
  const std::size_t second = member.find(kSeparator, first + kSeparator.size());
  if (second == std::string_view::npos) return std::nullopt;
  return Binding{std::string(member.substr(0, first)),
                 std::string(member.substr(first + kSeparator.size(), second - first - kSeparator.size())),
                 std::string(member.substr(second + kSeparator.size()))};
}

bool binding_matches(std::string_view exchange_type, const Binding& binding, std::string_view routing_key) {
  if (exchange_type == "fanout") return true;
  if (exchange_type == "topic") return topic_matches(binding.routing_key, routing_key);
  return binding.routing_key == routing_key;
}

int priority_step(int priority, std::span<const int> steps) noexcept {
  const int wanted = std::clamp(priority, 0, 9);
  int step = 0;
  for (const int candidate : steps) {
    if (candidate <= wanted) step = candidate;
  }
  return step;
}

std::string queue_key(std::string_view queue, int step) {
  std::string out(queue);
  if (step != 0) {
    out += kSeparator;
    out += std::to_string(step);
  }
  return out;
}

std::string binding_key(std::string_view exchange) { return "_kombu.binding." + std::string(exchange); }

std::string result_key(std::string_view task_id) { return "celery-task-meta-" + std::string(task_id); }

std::string group_key(std::string_view group, std::string_view suffix) {
  return "celery-taskset-meta-" + std::string(group) + std::string(suffix);
}

std::string fanout_channel(int database, std::string_view exchange, std::string_view routing_key) {
  std::string out = "/" + std::to_string(database) + "." + std::string(exchange);
  if (!routing_key.empty()) out += "/" + std::string(routing_key);
  return out;
}

std::string fanout_pattern(int database, std::string_view exchange, std::string_view routing_key) {
  std::string out = fanout_channel(database, exchange, routing_key);
  std::replace(out.begin(), out.end(), '#', '*');
  return out;
}

}  // namespace errand::protocol
