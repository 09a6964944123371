#include "cli/context.hpp"

#include "core/file.hpp"
#include "core/iso8601.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

#include <errand/error.hpp>

#include <sys/stat.h>
#include <unistd.h>
#include <cstdio>

namespace errand::cli {

namespace {

// F142: said before anything half-starts, with path, user and what is needed.
std::string folder_mistake(const std::string& url) {
  constexpr std::string_view kScheme = "sqlite:///";
  if (url.rfind(kScheme, 0) != 0) return "";
  const std::string path = url.substr(kScheme.size(), url.find('?') - kScheme.size());
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  struct stat about{};
  if (stat(folder.c_str(), &about) != 0 || !S_ISDIR(about.st_mode))
    return "the folder " + folder + " does not exist; make it, or name another file";
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return "the folder " + folder + " cannot be written by " + core::current_user() +
           "; it needs mode 0700 with that owner, or name another file";
  }
  if (access(path.c_str(), F_OK) == 0 && access(path.c_str(), R_OK | W_OK) != 0) {
    return "the file " + path + " cannot be read and written by " + core::current_user() +
           "; it needs mode 0600 with that owner";
  }
  return "";
}

template <class Open>
void check_url(const config::Settings& settings, std::string_view name, Open open, config::Problems& problems) {
  const config::Effective& one = settings.at(name);
  if (one.value.is_null() || one.value.as_text() == "disabled") return;
  try {
    static_cast<void>(open(one.value.as_text()));
    if (const std::string mistake = folder_mistake(one.value.as_text()); !mistake.empty()) {
      problems.push_back({one.origin.where, std::string(name) + ": " + mistake});
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid && error.kind() != ErrorKind::unsupported)
      return;  // it will be said when it is used
    problems.push_back({one.origin.where, std::string(name) + ": " + core::escape_controls(error.detail()) + " (" +
                                              log::redact(core::escape_controls(one.value.as_text())) + ")"});
  }
}

SchemaMap read_catalogue(const std::string& path, const std::string& where) {
  constexpr std::size_t kMostBytes = 16u << 20;
  std::string reason;
  const auto text = core::read_file(path, kMostBytes, reason);
  if (!text) throw config::ConfigError({{where, "catalogue: " + path + " " + reason}});
  try {
    return load_catalogue(parse_json(*text, JsonLimits{.nodes = kMaxCatalogueNodes, .bytes = kMostBytes}));
  } catch (const Error& error) {
    throw config::ConfigError(
        {{where, "catalogue: " + path + ": " + error.detail() + "; expected the output of errand tasks --json"}});
  }
}

}  // namespace

void check_urls(const config::Settings& settings) {
  config::Problems problems;
  check_url(settings, "broker_url", [](const std::string& url) { return open_broker(url); }, problems);
  check_url(settings, "result_backend", [](const std::string& url) { return open_result_backend(url); }, problems);
  try {
    check_signing(settings.signing);
  } catch (const Error& error) {
    problems.push_back({settings.signing_where, "[signing] " + error.subject() + ": " + error.detail()});
  }
  if (!problems.empty()) throw config::ConfigError(std::move(problems));
}

TransportOptions Context::transport() const {
  TransportOptions options;
  options.key_prefix = settings.text("broker_transport_options.global_keyprefix");
  options.visibility_timeout = *settings.duration("broker_transport_options.visibility_timeout");
  options.publish_timeout = *settings.duration("publish_timeout");
  options.connect_timeout = *settings.duration("broker_connection_timeout");
  options.max_message_bytes = static_cast<std::size_t>(settings.integer("max_message_size"));
  options.result_expires = *settings.duration("result_expires");
  options.revoke_expires = *settings.duration("revoke_expires");
  options.max_dead_letters = static_cast<std::size_t>(settings.integer("max_dead_letters"));
  options.signing = settings.signing;
  options.priority_steps.clear();
  for (const std::string& step : settings.list("broker_transport_options.priority_steps"))
    options.priority_steps.push_back(std::stoi(step));
  return options;
}

std::unique_ptr<Broker> Context::broker() const { return open_broker(settings.text("broker_url"), transport()); }

ClientOptions Context::client_options() const {
  ClientOptions options;
  options.broker_url = settings.text("broker_url");
  options.result_backend_url = settings.text("result_backend");
  options.transport = transport();
  options.default_queue = settings.text("task_default_queue");
  for (const config::RouteSection& route : settings.routes)
    options.routes.push_back({route.pattern, route.queue, route.priority});
  if (settings.is_set("typed_json")) options.typed_json = settings.flag("typed_json");
  options.compression = settings.text("task_compression");
  options.publish_timeout = *settings.duration("publish_timeout");
  if (settings.is_set("catalogue"))
    options.catalogue = read_catalogue(settings.text("catalogue"), settings.at("catalogue").origin.where);
  for (auto& [name, schema] : schemas(registry)) options.catalogue.insert_or_assign(name, std::move(schema));
  if (settings.is_set("task_default_priority"))
    options.priority = static_cast<int>(settings.integer("task_default_priority"));
  return options;
}

std::string queue_argument(const Context& context, const std::string& text) {
  if (const std::string mistake = config::queue_name_mistake(text); !mistake.empty())
    throw UsageError("queue: " + mistake, context.args.command);
  return text;
}

Milliseconds duration_argument(const Context& context, std::string_view option, const std::string& text) {
  const auto parsed = core::parse_duration(text);
  if (!parsed || parsed->count() < 0) {
    throw UsageError(std::string(option) + ": expected a duration such as 90s or 5min, got " + config::quoted(text),
                     context.args.command);
  }
  return *parsed;
}

std::string age(Milliseconds duration) {
  const double seconds = static_cast<double>(duration.count()) / 1'000.0;
  char text[32];
  if (seconds < 60)
    std::snprintf(text, sizeof text, "%.1fs", seconds);
  else if (seconds < 3'600)
    std::snprintf(text, sizeof text, "%.0fmin", seconds / 60);
  else if (seconds < 2 * 86'400)
    std::snprintf(text, sizeof text, "%.1fh", seconds / 3'600);
  else
    std::snprintf(text, sizeof text, "%.0fd", seconds / 86'400);
  return text;
}

std::string time_text(TimePoint time) { return time == TimePoint{} ? "" : core::format_iso8601(time); }

}  // namespace errand::cli
