#pragma once
// Logs: structured events, one line each, readable on a terminal or JSON on request.
//
//   log::info("task.succeeded", {{"task_id", id}, {"task_name", name}, {"queue", queue}, {"duration", 0.0123}});
//
// Field values are escaped and secrets are masked here, so that no caller has to think of it (security S35, S37).

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace errand::log {

enum class Level { debug, info, warning, error, off };

/// "debug", "info", "warning", "error" and Celery's upper case. Returns false when it is none of them.
bool parse_level(std::string_view text, Level& level) noexcept;

using FieldValue = std::variant<std::string, std::int64_t, double, bool>;
struct Field {
  Field(std::string_view n, std::string_view v) : name(n), value(std::string(v)) {}
  Field(std::string_view n, const char* v) : name(n), value(std::string(v)) {}
  Field(std::string_view n, const std::string& v) : name(n), value(v) {}
  Field(std::string_view n, bool v) : name(n), value(v) {}
  Field(std::string_view n, double v) : name(n), value(v) {}
  template <class T>
    requires std::is_integral_v<T>
  Field(std::string_view n, T v) : name(n), value(static_cast<std::int64_t>(v)) {}
  std::string_view name;
  FieldValue value;
};
using Fields = std::vector<Field>;

struct Settings {
  Level level = Level::info;
  bool json = false;
  bool color = false;             ///< for terminals
  std::string process;            ///< node name, a field of every JSON line
  std::string source = "errand";  ///< which part of a site speaks, a field of every JSON line; workers say "queue"
  int file = 2;                   ///< where lines go; stays open, owned by the caller
};

/// Longest message or field value in bytes; what is longer is cut, with its length said.
inline constexpr std::size_t kMostText = 8'192;

/// Call before threads exist; until then lines go to standard error as text from level info.
void configure(Settings settings);
/// Changes the level alone; safe at any time (a reload of the configuration).
void set_level(Level level) noexcept;
bool enabled(Level level) noexcept;

void write(Level level, std::string_view event, std::string_view message, const Fields& fields = {});
inline void debug(std::string_view event, std::string_view message, const Fields& fields = {}) {
  write(Level::debug, event, message, fields);
}
inline void info(std::string_view event, std::string_view message, const Fields& fields = {}) {
  write(Level::info, event, message, fields);
}
inline void warning(std::string_view event, std::string_view message, const Fields& fields = {}) {
  write(Level::warning, event, message, fields);
}
inline void error(std::string_view event, std::string_view message, const Fields& fields = {}) {
  write(Level::error, event, message, fields);
}

/// The same event and message at most once in ten seconds, with a count of those left out (invariant I16).
void limited(Level level, std::string_view event, std::string_view message, const Fields& fields = {});

/// The line as write() would write it, without its end.
std::string format(const Settings& settings, Level level, std::string_view event, std::string_view message,
                   const Fields& fields = {});

/// Masks passwords in URLs and the values of keys that name secrets (password, token, secret, authorization, ...) in
/// free text: key=value, "key": "value", key: value. The name of a user stays, for it helps to find the mistake.
std::string redact(std::string_view text);
bool names_secret(std::string_view key) noexcept;

}  // namespace errand::log
