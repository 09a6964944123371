#pragma once
// What a command gets: its arguments, the configuration, the program's tasks, and ways to connect.

#include "cli/arguments.hpp"
#include "cli/terminal.hpp"
#include "config/load.hpp"

#include <errand/client.hpp>
#include <errand/drivers.hpp>
#include <errand/registry.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace errand::cli {

/// Most JSON values of a catalogue that is read: kMaxCatalogueTasks of about a hundred each.
inline constexpr std::size_t kMaxCatalogueNodes = 1'000'000;

/// Lives as long as the command. `registry` has the tasks of the program and of the configuration file.
class Context {
 public:
  Context(const Arguments& a, const config::Sources& so, const config::Settings& s, const Registry& r)
      : args(a), sources(so), settings(s), registry(r), out(a.has("--json")) {}

  const Arguments& args;
  const config::Sources& sources;  ///< to load them again
  const config::Settings& settings;
  const Registry& registry;
  Terminal out;

  TransportOptions transport() const;
  /// Throws ConfigError (exit code 78) where the URL's scheme is not known. Connects on first use.
  std::unique_ptr<Broker> broker() const;
  /// Knows the signatures of the registry and of --catalogue.
  ClientOptions client_options() const;
};

/// Throws ConfigError naming where a URL was written, if its scheme or form is wrong.
void check_urls(const config::Settings& settings);

/// The text as a queue's name; throws UsageError (exit code 2).
std::string queue_argument(const Context& context, const std::string& text);
/// "90s", "5min"; throws UsageError naming the option.
Milliseconds duration_argument(const Context& context, std::string_view option, const std::string& text);

/// Seconds with the precision of a person: "3.2s", "5min", "2h".
std::string age(Milliseconds duration);
/// ISO 8601 in UTC; "" for the zero time.
std::string time_text(TimePoint time);

}  // namespace errand::cli
