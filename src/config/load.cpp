#include "config/load.hpp"

#include "config/signing_section.hpp"
#include "core/file.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>

namespace errand::config {

namespace {

constexpr std::size_t kMostSecretBytes = 64 << 10;

std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& known) {
  const auto near = core::nearest_word(name, known);
  return near.empty() ? std::string() : "; did you mean " + std::string(near) + "?";
}

bool holds_password(std::string_view url) { return log::redact(url) != url; }

bool holds_secret(const Node& node, std::string_view key) {
  if (!node.table)
    return node.value.is_text() && !node.value.as_text().empty() &&
           (log::names_secret(key) || holds_password(node.value.as_text()));
  return std::any_of(node.members.begin(), node.members.end(),
                     [](const Node::Member& member) { return holds_secret(member.node, member.key); });
}

std::string first_line(const std::string& text) { return text.substr(0, text.find_first_of("\r\n")); }

}  // namespace

class Loader {
 public:
  explicit Loader(const Sources& sources) : sources_(sources) {
    for (const Setting& setting : settings_table()) settings_.all_.push_back({&setting, fallback(setting), {}});
  }

  Settings load() {
    from_file();
    from_environment();
    from_flags();
    secret_file("broker_url", "broker_url_file");
    secret_file("result_backend", "result_backend_file");
    check_together();
    if (!problems_.empty()) throw ConfigError(std::move(problems_));
    return std::move(settings_);
  }

 private:
  void wrong(std::string where, std::string text) { problems_.push_back({std::move(where), std::move(text)}); }

  Effective& slot(const Setting& setting) {
    return *std::find_if(settings_.all_.begin(), settings_.all_.end(),
                         [&](const Effective& one) { return one.setting == &setting; });
  }

  void take(const Setting& setting, Converted converted, Origin origin, std::string_view as) {
    if (!converted.value) {
      wrong(origin.where, std::string(as) + ": " + converted.wrong);
      return;
    }
    Effective& one = slot(setting);
    if (one.origin.kind == origin.kind) {
      wrong(origin.where, std::string(as) + " is set twice, also at " + one.origin.where + "; keep one");
      return;
    }
    one.value = std::move(*converted.value);
    one.origin = std::move(origin);
  }

  void from_file() {
    std::string path = sources_.file.value_or(sources_.default_file);
    struct stat about{};
    if (!sources_.file && (path.empty() || (stat(path.c_str(), &about) != 0 && errno == ENOENT))) return;
    const auto root = read_toml(path, problems_);
    if (!root) return;
    settings_.file = path;
    if (holds_secret(*root, "")) {
      if (const std::string loose = core::loose_mode(path); !loose.empty()) wrong(path, loose);
    }
    for (const auto& [key, node] : root->members) file_member("", key, node, path);
  }

  void file_member(const std::string& prefix, const std::string& key, const Node& node, const std::string& path) {
    const std::string where = path + ":" + std::to_string(node.line);
    if (prefix.empty() && node.table) {
      if (key == "tasks") {
        settings_.tasks = read_tasks(node, path, problems_);
        return;
      }
      if (key == "routes") {
        settings_.routes = read_routes(node, path, problems_);
        return;
      }
      if (key == "queues") {
        settings_.queues = read_queues(node, path, problems_);
        return;
      }
      if (key == "signing") {
        settings_.signing = read_signing(node, path, problems_);
        settings_.signing_where = where;
        return;
      }
      for (const std::string_view options :
           {"broker_transport_options", "BROKER_TRANSPORT_OPTIONS", "CELERY_BROKER_TRANSPORT_OPTIONS"}) {
        if (key != options) continue;
        for (const auto& [inner, child] : node.members) file_member("broker_transport_options.", inner, child, path);
        return;
      }
    }
    const Setting* setting = find_setting(prefix + key);
    if (setting == nullptr) {
      unknown(prefix, key, node, where);
    } else if (node.table) {
      wrong(where, prefix + key + ": expected " + expectation(*setting) + ", got a table");
    } else {
      take(*setting, convert_value(*setting, node.value), {Origin::Kind::file, where}, prefix + key);
    }
  }

  void unknown(const std::string& prefix, const std::string& key, const Node& node, const std::string& where) {
    if (prefix.empty() && (key == "tasks" || key == "routes" || key == "queues" || key == "signing")) {
      wrong(where, key + ": expected a table, got " + describe(node.value));
      return;
    }
    if (const Elsewhere* elsewhere = prefix.empty() ? find_elsewhere(key) : nullptr) {
      wrong(where, "the setting " + quoted(key) + " of Celery does not exist here: " + std::string(elsewhere->instead));
      return;
    }
    std::vector<std::string> names;
    for (const Setting& setting : settings_table()) {
      for (std::string& name : spellings(setting)) {
        if (name.compare(0, prefix.size(), prefix) == 0) names.push_back(name.substr(prefix.size()));
      }
    }
    if (prefix.empty()) names.insert(names.end(), {"tasks", "routes", "queues", "signing", "broker_transport_options"});
    std::string text = (node.table ? "unknown table " : "unknown setting ") + quoted(prefix + key) +
                       did_you_mean(key, {names.begin(), names.end()});
    // A key that stands under [tasks."x"] by accident, or a table that was meant as a section.
    wrong(where, std::move(text));
  }

  void from_environment() {
    const auto& given = sources_.environment;
    std::vector<std::string> names;
    for (const Setting& setting : settings_table()) {
      const std::string own = environment_name(setting);
      names.push_back(own);
      if (!setting.environment.empty()) names.emplace_back(setting.environment);
      const auto find = [&](std::string_view name) { return given.find(std::string(name)); };
      // An empty variable is how shells say "not set".
      const auto first = find(own);
      const auto second = setting.environment.empty() ? given.end() : find(setting.environment);
      const bool has_first = first != given.end() && !first->second.empty();
      const bool has_second = second != given.end() && !second->second.empty();
      if (has_first && has_second && first->second != second->second) {
        wrong("environment " + own, "conflicts with " + second->first + ", which has another value; keep one");
      } else if (has_first || has_second) {
        const auto& [name, text] = has_first ? *first : *second;
        take(setting, convert_text(setting, text), {Origin::Kind::environment, "environment " + name}, setting.name);
      }
    }
    for (const auto& [name, text] : given) {
      if (name.rfind("ERRAND_", 0) != 0 || std::find(names.begin(), names.end(), name) != names.end()) continue;
      // Other programs may have variables of that prefix; only what looks like a typing mistake is one.
      std::vector<std::string_view> known;
      for (const std::string& one : names) {
        if (one.rfind("ERRAND_", 0) == 0) known.push_back(std::string_view(one).substr(7));
      }
      if (const auto near = core::nearest_word(std::string_view(name).substr(7), known); !near.empty()) {
        wrong("environment " + core::escape_controls(name),
              "unknown variable; did you mean ERRAND_" + std::string(near) + "?");
      }
    }
  }

  void from_flags() {
    for (const FlagValue& flag : sources_.flags) {
      const Setting* setting = find_setting(flag.setting);
      if (setting == nullptr) {
        throw Error(
            {.kind = ErrorKind::bug, .operation = "config.flags", .subject = flag.flag, .detail = "names no setting"});
      }
      take(*setting, convert_text(*setting, flag.text), {Origin::Kind::flag, flag.flag}, setting->name);
    }
  }

  // What was said later wins (a flag over a file's *_file); said at the same place twice it is a mistake.
  void secret_file(std::string_view name, std::string_view file_name) {
    Effective& target = slot(*find_setting(name));
    const Effective& source = slot(*find_setting(file_name));
    if (source.value.is_null() || target.origin.kind > source.origin.kind) return;
    if (target.origin.kind == source.origin.kind) {
      wrong(source.origin.where, std::string(file_name) + " conflicts with " + std::string(name) + " (" +
                                     target.origin.where + "); keep one");
      return;
    }
    const std::string path = source.value.as_text();
    const std::string where = source.origin.where + ": " + std::string(file_name);
    std::string reason;
    const auto text = core::read_file(path, kMostSecretBytes, reason);
    if (!text) {
      wrong(where, path + " " + reason);
      return;
    }
    if (const std::string loose = core::loose_mode(path); !loose.empty()) {
      wrong(where, path + " " + loose);
      return;
    }
    const Converted converted = convert_text(*target.setting, first_line(*text));
    if (!converted.value || first_line(*text).empty()) {
      wrong(where, path + ": expected a URL in its first line");
      return;
    }
    target.value = *converted.value;
    target.origin = {source.origin.kind, "file " + path};
  }

  void check_together() {
    const Effective& hard = settings_.at("task_time_limit");
    const Effective& soft = settings_.at("task_soft_time_limit");
    if (!hard.value.is_null() && !soft.value.is_null() && soft.value.as_integer() > hard.value.as_integer()) {
      wrong(soft.origin.where, "task_soft_time_limit: expected at most task_time_limit (" +
                                   show(*hard.setting, hard.value) + ", " + hard.origin.where + "), got " +
                                   show(*soft.setting, soft.value) + "; it would never be reached");
    }
    const Effective& pool = settings_.at("worker_pool");
    const Effective& concurrency = settings_.at("worker_concurrency");
    if (pool.value.is_text() && pool.value.as_text() == "solo" && concurrency.value.is_integer() &&
        concurrency.value.as_integer() > 1) {
      wrong(concurrency.origin.where,
            "worker_concurrency: the pool solo (" + pool.origin.where + ") runs one task at a time, got " +
                std::to_string(concurrency.value.as_integer()) + "; use the pool threads or prefork");
    }
  }

  const Sources& sources_;
  Settings settings_;
  Problems problems_;
};

ConfigError::ConfigError(Problems problems)
    : Error([&] {
        Error::Fields fields{
            .kind = ErrorKind::invalid, .operation = "configuration", .subject = "", .detail = "", .code = ""};
        for (const Problem& one : problems)
          fields.detail += (fields.detail.empty() ? "" : "\n") + one.where + ": " + one.text;
        return fields;
      }()),
      problems_(std::move(problems)) {}

const Effective& Settings::at(std::string_view name) const {
  for (const Effective& one : all_) {
    if (one.setting->name == name) return one;
  }
  throw Error(
      {.kind = ErrorKind::bug, .operation = "config.at", .subject = std::string(name), .detail = "no such setting"});
}

std::string Settings::text(std::string_view name) const {
  const Value& value = at(name).value;
  return value.is_null() ? std::string() : value.as_text();
}
bool Settings::flag(std::string_view name) const {
  const Value& value = at(name).value;
  return !value.is_null() && value.as_bool();
}
std::int64_t Settings::integer(std::string_view name) const {
  const Value& value = at(name).value;
  return value.is_null() ? 0 : value.as_integer();
}
std::optional<Milliseconds> Settings::duration(std::string_view name) const {
  const Value& value = at(name).value;
  return value.is_null() ? std::nullopt : std::optional(Milliseconds{value.as_integer()});
}
std::vector<std::string> Settings::list(std::string_view name) const {
  std::vector<std::string> out;
  if (const Array* items = at(name).value.if_array()) {
    for (const Value& item : *items) out.push_back(item.is_text() ? item.as_text() : to_json(item));
  }
  return out;
}

Settings load(const Sources& sources) { return Loader(sources).load(); }

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> out;
  for (char** one = environ; one != nullptr && *one != nullptr; ++one) {
    const std::string_view entry = *one;
    const auto equals = entry.find('=');
    if (equals != std::string_view::npos) out.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return out;
}

}  // namespace errand::config
