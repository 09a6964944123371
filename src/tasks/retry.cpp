#include <errand/retry.hpp>

#include "core/iso8601.hpp"
#include "core/text.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <cmath>

namespace errand {

RetryPolicy RetryPolicy::none() {
  RetryPolicy policy;
  policy.max_retries = 0;
  return policy;
}

RetryPolicy RetryPolicy::fixed(Milliseconds wait, std::optional<std::uint32_t> max_retries) {
  RetryPolicy policy;
  policy.base = wait;
  policy.cap = std::max(wait, policy.cap);
  policy.max_retries = max_retries;
  return policy;
}

RetryPolicy RetryPolicy::exponential(Milliseconds base, Milliseconds cap, std::optional<std::uint32_t> max_retries) {
  RetryPolicy policy;
  policy.shape = Shape::exponential;
  policy.base = base;
  policy.cap = cap;
  policy.max_retries = max_retries;
  policy.jitter = true;
  return policy;
}

RetryPolicy RetryPolicy::into(std::string other_queue) && {
  queue = std::move(other_queue);
  return std::move(*this);
}
RetryPolicy RetryPolicy::until_time(TimePoint when) && {
  until = when;
  return std::move(*this);
}
RetryPolicy RetryPolicy::without_jitter() && {
  jitter = false;
  return std::move(*this);
}

Milliseconds RetryPolicy::wait(std::uint32_t retries, double uniform) const noexcept {
  const Milliseconds floor = std::max(base, Milliseconds{0});
  Milliseconds full = floor;
  if (shape == Shape::exponential) {
    // In doubles, so that 2^retries saturates at the cap instead of wrapping.
    const double grown = static_cast<double>(floor.count()) * std::exp2(std::min<double>(retries, 1000.0));
    full = grown >= static_cast<double>(cap.count()) ? cap : Milliseconds{static_cast<std::int64_t>(grown)};
    full = std::max(full, Milliseconds{0});
  }
  if (!jitter) return full;
  return Milliseconds{static_cast<std::int64_t>(static_cast<double>(full.count()) * std::clamp(uniform, 0.0, 1.0))};
}

std::string RetryPolicy::describe() const {
  if (max_retries == 0u) return "none";
  std::string text = shape == Shape::exponential
                         ? "exp(" + core::format_duration(base) + ", " + core::format_duration(cap) + ")"
                         : "fixed(" + core::format_duration(base) + ")";
  text += max_retries ? " x" + std::to_string(*max_retries) : std::string(" forever");
  if (jitter) text += " jitter";
  if (until) text += " until " + core::format_iso8601(*until);
  if (!queue.empty()) text += " -> " + queue;
  return text;
}

namespace {
[[noreturn]] void refuse(std::string_view text, std::string_view what) {
  throw Error({.kind = ErrorKind::invalid,
               .operation = "retry",
               .subject = std::string(text),
               .detail = "expected 'none', 'fixed(10s) x3' or 'exp(1s, 10min) x5 [jitter] [until TIME] [-> queue]', " +
                         std::string(what)});
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}
}  // namespace

RetryPolicy RetryPolicy::parse(std::string_view whole) {
  std::string_view text = trimmed(whole);
  if (text == "none") return none();
  const bool exponential_shape = text.substr(0, 4) == "exp(";
  if (!exponential_shape && text.substr(0, 6) != "fixed(") refuse(whole, "got another form");
  text.remove_prefix(exponential_shape ? 4 : 6);
  const std::size_t close = text.find(')');
  if (close == std::string_view::npos) refuse(whole, "got no closing parenthesis");
  const std::string_view inside = text.substr(0, close);
  text = trimmed(text.substr(close + 1));
  const std::size_t comma = inside.find(',');
  const auto base = core::parse_duration(trimmed(inside.substr(0, comma)));
  if (!base) refuse(whole, "got no duration such as 1s, 500ms or 10min");
  RetryPolicy policy = fixed(*base);
  if (exponential_shape) {
    Milliseconds cap{600'000};
    if (comma != std::string_view::npos) {
      const auto given = core::parse_duration(trimmed(inside.substr(comma + 1)));
      if (!given) refuse(whole, "got no duration for the cap");
      cap = *given;
    }
    policy = exponential(*base, cap);
    policy.jitter = false;
  } else if (comma != std::string_view::npos) {
    refuse(whole, "got two durations for fixed");
  }
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text = space == std::string_view::npos ? std::string_view{} : trimmed(text.substr(space + 1));
    if (word == "jitter") {
      policy.jitter = true;
    } else if (word == "forever") {
      policy.max_retries.reset();
    } else if (word == "until") {
      const std::size_t end = text.find(' ');
      policy.until = core::parse_iso8601(text.substr(0, end));
      if (!policy.until) refuse(whole, "got no time such as 2030-01-31T12:00:00Z after until");
      text = end == std::string_view::npos ? std::string_view{} : trimmed(text.substr(end + 1));
    } else if (word == "->") {
      if (text.empty()) refuse(whole, "got no queue after ->");
      policy.queue = std::string(text);
      text = {};
    } else if (word.size() > 1 && word[0] == 'x') {
      const auto times = core::parse_number(word.substr(1), 1'000'000);
      if (!times) refuse(whole, "got no number after x");
      policy.max_retries = static_cast<std::uint32_t>(*times);
    } else {
      refuse(whole, "got '" + std::string(word) + "'");
    }
  }
  return policy;
}

}  // namespace errand
