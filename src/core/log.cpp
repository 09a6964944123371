#include "core/log.hpp"

#include "core/ascii.hpp"
#include "core/text.hpp"

#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>
#include <mutex>

namespace errand::log {

namespace {

constexpr std::chrono::seconds kRepeatAfter{10};
constexpr std::size_t kMostRepeats = 1'000;  // different lines remembered; beyond it the memory starts anew

struct State {
  std::mutex mutex;
  Settings settings;
  std::atomic<Level> level{Level::info};
  struct Repeat {
    std::chrono::steady_clock::time_point last;
    std::size_t left_out = 0;
  };
  std::map<std::string, Repeat, std::less<>> repeats;
};
State& state() {
  static State one;
  return one;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::debug:
      return "DEBUG";
    case Level::info:
      return "INFO";
    case Level::warning:
      return "WARNING";
    case Level::error:
      return "ERROR";
    case Level::off:
      break;
  }
  return "OFF";
}

std::string_view color_of(Level level) {
  switch (level) {
    case Level::warning:
      return "\x1b[33m";
    case Level::error:
      return "\x1b[31m";
    case Level::debug:
      return "\x1b[2m";
    default:
      return "";
  }
}

std::string cut(std::string_view text) {
  if (text.size() <= kMostText) return std::string(text);
  return core::shorten(text, kMostText) + " (" + std::to_string(text.size()) + " bytes)";
}

std::string timestamp(bool utc) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1'000;
  std::tm parts{};
  if (utc)
    gmtime_r(&seconds, &parts);
  else
    localtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t length =
      std::strftime(text.data(), text.size(), utc ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &parts);
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03d", static_cast<int>(millis));
  return std::string(text.data(), length) + fraction.data() + (utc ? "Z" : "");
}

// What is left after escape_controls is UTF-8 without controls: only the two characters JSON itself needs are escaped.
void append_json_text(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : core::escape_controls(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

std::string number_text(double value) {
  if (!std::isfinite(value)) return "null";
  std::array<char, 40> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed, 6).ptr;
  return std::string(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

std::string value_text(const Field& field) {
  if (names_secret(field.name)) return "********";
  struct Visitor {
    std::string operator()(const std::string& text) const { return redact(cut(text)); }
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(double number) const { return number_text(number); }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
  };
  return std::visit(Visitor{}, field.value);
}

std::string json_line(const Settings& settings, Level level, std::string_view event, std::string_view message,
                      const Fields& fields) {
  std::string line = "{\"timestamp\": \"" + timestamp(true) + "\", \"severity\": \"" + std::string(name_of(level)) +
                     "\", \"source\": ";
  append_json_text(line, settings.source);
  line += ", \"event\": ";
  append_json_text(line, event);
  line += ", \"message\": ";
  append_json_text(line, redact(cut(message)));
  line += ", \"pid\": " + std::to_string(getpid());
  if (!settings.process.empty()) {
    line += ", \"process\": ";
    append_json_text(line, settings.process);
  }
  for (const Field& field : fields) {
    line += ", ";
    append_json_text(line, field.name);
    line += ": ";
    if (std::holds_alternative<std::string>(field.value) || names_secret(field.name)) {
      append_json_text(line, value_text(field));
    } else {
      line += value_text(field);
    }
  }
  return line + "}";
}

// What people have read in the message, or would not miss: the duration stands in the sentence, a zero says nothing.
bool said_already(std::string_view message, const Field& field, std::string_view value) {
  if (value.empty() || field.name == "duration") return true;
  if (const auto* number = std::get_if<std::int64_t>(&field.value)) return *number == 0;
  return std::holds_alternative<std::string>(field.value) && message.find(value) != std::string_view::npos;
}

std::string text_line(const Settings& settings, Level level, std::string_view event, std::string_view message,
                      const Fields& fields) {
  std::string line = timestamp(false) + " ";
  if (settings.color) line += color_of(level);
  line += name_of(level);
  line.append(8 - std::min<std::size_t>(7, name_of(level).size()), ' ');
  line += message.empty() ? std::string(event) : core::escape_controls(redact(cut(message)));
  for (const Field& field : fields) {
    // What the message already says is not said again.
    const std::string value = core::escape_controls(value_text(field));
    if (said_already(message, field, value)) continue;
    line += " " + std::string(field.name) + "=" + value;
  }
  if (settings.color && !color_of(level).empty()) line += "\x1b[0m";
  return line;
}

void put(int file, const std::string& line) {
  // One write(2) a line: lines of several processes on one descriptor do not mix.
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = ::write(file, line.data() + sent, line.size() - sent);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody reads the log; the work goes on
    sent += static_cast<std::size_t>(n);
  }
}

}  // namespace

bool parse_level(std::string_view text, Level& level) noexcept {
  std::string word;
  for (const char c : text) word += core::ascii_lower(c);
  if (word == "debug")
    level = Level::debug;
  else if (word == "info")
    level = Level::info;
  else if (word == "warning" || word == "warn")
    level = Level::warning;
  else if (word == "error" || word == "critical" || word == "fatal")
    level = Level::error;
  else
    return false;
  return true;
}

void configure(Settings settings) {
  const std::lock_guard lock(state().mutex);
  state().level = settings.level;
  state().settings = std::move(settings);
}

void set_level(Level level) noexcept { state().level = level; }

bool enabled(Level level) noexcept { return level >= state().level; }

std::string format(const Settings& settings, Level level, std::string_view event, std::string_view message,
                   const Fields& fields) {
  return settings.json ? json_line(settings, level, event, message, fields)
                       : text_line(settings, level, event, message, fields);
}

void write(Level level, std::string_view event, std::string_view message, const Fields& fields) {
  if (!enabled(level)) return;
  const Settings& settings = state().settings;
  put(settings.file, format(settings, level, event, message, fields) + "\n");
}

void limited(Level level, std::string_view event, std::string_view message, const Fields& fields) {
  if (!enabled(level)) return;
  std::size_t left_out = 0;
  {
    const std::lock_guard lock(state().mutex);
    auto& repeats = state().repeats;
    if (repeats.size() > kMostRepeats) repeats.clear();
    State::Repeat& repeat = repeats[std::string(event) + '\n' + std::string(message)];
    const auto now = std::chrono::steady_clock::now();
    if (repeat.last != std::chrono::steady_clock::time_point{} && now - repeat.last < kRepeatAfter) {
      repeat.left_out += 1;
      return;
    }
    repeat.last = now;
    left_out = std::exchange(repeat.left_out, 0);
  }
  Fields all = fields;
  if (left_out > 0) all.emplace_back("repeated", left_out);
  write(level, event, message, all);
}

}  // namespace errand::log
