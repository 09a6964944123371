#include "core/log.hpp"

#include "core/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>
#include <mutex>
#include <unistd.h>

namespace errand::log {

namespace {

constexpr std::array<std::string_view, 8> kSecretWords{"password", "passwd", "token", "secret", "authorization", "api_key", "apikey", "private_key"};
constexpr std::chrono::seconds kRepeatAfter{10};
constexpr std::size_t kMostRepeats = 1'000;  // different lines remembered; beyond it the memory starts anew

struct State {
  std::mutex mutex;
  Settings settings;
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
    case Level::debug: return "DEBUG";
    case Level::info: return "INFO";
    case Level::warning: return "WARNING";
    case Level::error: return "ERROR";
    case Level::off: break;
  }
  return "OFF";
}

std::string_view color_of(Level level) {
  switch (level) {
    case Level::warning: return "\x1b[33m";
    case Level::error: return "\x1b[31m";
    case Level::debug: return "\x1b[2m";
    default: return "";
  }
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string timestamp(bool utc) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1'000;
  std::tm parts{};
  if (utc) gmtime_r(&seconds, &parts);
  else localtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), utc ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &parts);
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03d", static_cast<int>(millis));
  return std::string(text.data(), length) + fraction.data() + (utc ? "Z" : "");
}

void append_json_text(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : core::escape_controls(text)) {
    if (c == '"' || c == '\\') out += '\\';
    // A byte that is no ASCII stands for itself in Latin-1, so that a log line is valid JSON whatever a message holds.
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  out += '"';
}

std::string number_text(double value) {
  std::array<char, 40> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed, 6).ptr;
  return std::string(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

std::string value_text(const Field& field) {
  if (names_secret(field.name)) return "********";
  struct Visitor {
    std::string operator()(const std::string& text) const { return redact(text); }
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(double number) const { return number_text(number); }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
  };
  return std::visit(Visitor{}, field.value);
}

std::string json_line(const Settings& settings, Level level, std::string_view event, std::string_view message, const Fields& fields) {
  std::string line = "{\"timestamp\": \"" + timestamp(true) + "\", \"severity\": \"" + std::string(name_of(level)) +
                     "\", \"source\": \"errand\", \"event\": ";
  append_json_text(line, event);
  line += ", \"message\": ";
  append_json_text(line, redact(message));
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
  return line + "}\n";
}

std::string text_line(const Settings& settings, Level level, std::string_view event, std::string_view message, const Fields& fields) {
  std::string line = timestamp(false) + " ";
  if (settings.color) line += color_of(level);
  line += name_of(level);
  line.append(8 - std::min<std::size_t>(7, name_of(level).size()), ' ');
  line += message.empty() ? std::string(event) : core::escape_controls(redact(message));
  for (const Field& field : fields) {
    // What the message already says is not said again.
    const std::string value = core::escape_controls(value_text(field));
    if (!message.empty() && message.find(value) != std::string_view::npos && !value.empty()) continue;
    line += " " + std::string(field.name) + "=" + value;
  }
  if (settings.color && !color_of(level).empty()) line += "\x1b[0m";
  return line + "\n";
}

void put(const std::string& line) {
  // One write(2) a line: lines of several processes on one descriptor do not mix.
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = ::write(STDERR_FILENO, line.data() + sent, line.size() - sent);
    if (n <= 0) return;  // nobody reads the log; the work goes on
    sent += static_cast<std::size_t>(n);
  }
}

}  // namespace

bool parse_level(std::string_view text, Level& level) noexcept {
  std::string word;
  for (const char c : text) word += lower(c);
  if (word == "debug") level = Level::debug;
  else if (word == "info") level = Level::info;
  else if (word == "warning" || word == "warn") level = Level::warning;
  else if (word == "error" || word == "critical" || word == "fatal") level = Level::error;
  else return false;
  return true;
}

void configure(Settings settings) {
  const std::lock_guard lock(state().mutex);
  state().settings = std::move(settings);
}

bool enabled(Level level) noexcept { return level >= state().settings.level; }

void write(Level level, std::string_view event, std::string_view message, const Fields& fields) {
  const Settings& settings = state().settings;
  if (level < settings.level) return;
  put(settings.json ? json_line(settings, level, event, message, fields)
                    : text_line(settings, level, event, message, fields));
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

bool names_secret(std::string_view key) noexcept {
  std::array<char, 128> word{};
  const std::size_t length = std::min(key.size(), word.size());
  std::transform(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(length), word.begin(), lower);
  const std::string_view lowered(word.data(), length);
  return std::any_of(kSecretWords.begin(), kSecretWords.end(),
                     [&](std::string_view secret) { return lowered.find(secret) != std::string_view::npos; });
}

std::string redact(std::string_view text) {
  std::string out(text);
  // scheme://user:password@host
  for (std::size_t at = out.find("://"); at != std::string::npos; at = out.find("://", at + 3)) {
    const std::size_t from = at + 3;
    const std::size_t end = std::min(out.find_first_of("/? \t\n\"'", from), out.size());
    const std::size_t sign = out.rfind('@', end);
    if (sign == std::string::npos || sign < from || sign >= end) continue;
    const std::size_t colon = out.find(':', from);
    if (colon != std::string::npos && colon < sign) out.replace(colon + 1, sign - colon - 1, "********");
  }
  // key=value and "key": "value", for keys that name secrets
  for (const std::string_view secret : kSecretWords) {
    for (std::size_t at = 0; at < out.size();) {
      const auto found = std::search(out.begin() + static_cast<std::ptrdiff_t>(at), out.end(), secret.begin(), secret.end(),
                                     [](char a, char b) { return lower(a) == b; });
      if (found == out.end()) break;
      std::size_t from = static_cast<std::size_t>(found - out.begin()) + secret.size();
      while (from < out.size() && (out[from] == '"' || out[from] == '\'' || out[from] == ' ')) ++from;
      at = from;
      if (from >= out.size() || (out[from] != '=' && out[from] != ':')) continue;
      ++from;
      while (from < out.size() && (out[from] == '"' || out[from] == '\'' || out[from] == ' ')) ++from;
      const std::size_t end = std::min(out.find_first_of("\"', \t\n&;}", from), out.size());
      if (end > from) out.replace(from, end - from, "********");
      at = from;
    }
  }
  return out;
}

}  // namespace errand::log
