#pragma once
// Loading: defaults, then the file, then the environment, then flags; every mistake of all of them at once.

#include "config/convert.hpp"
#include "config/problem.hpp"
#include "config/sections.hpp"
#include "config/setting.hpp"

#include <errand/signing.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace errand::config {

/// Where an effective value comes from.
struct Origin {
  enum class Kind { builtin, file, environment, flag };
  Kind kind = Kind::builtin;
  std::string where = "default";  ///< "errand.toml:2", "environment ERRAND_LOG_LEVEL", "-c"
};

struct Effective {
  const Setting* setting = nullptr;
  Value value;  ///< null: not set
  Origin origin;
  bool changed() const noexcept { return origin.kind != Origin::Kind::builtin; }
};

/// Everything Errand was told. Read-only once loaded.
class Settings {
 public:
  const std::vector<Effective>& all() const noexcept { return all_; }
  /// Throws Error{bug} for a name that the table does not have.
  const Effective& at(std::string_view name) const;

  std::string text(std::string_view name) const;  ///< "" when not set
  bool flag(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  std::optional<Milliseconds> duration(std::string_view name) const;
  std::vector<std::string> list(std::string_view name) const;
  bool is_set(std::string_view name) const { return !at(name).value.is_null(); }

  std::string file;  ///< the file that was read; "" when there was none
  std::vector<TaskSection> tasks;
  std::vector<RouteSection> routes;
  std::vector<QueueSpec> queues;
  SigningOptions signing;
  std::string signing_where;  ///< "errand.toml:12"; "": no such table

 private:
  friend class Loader;
  std::vector<Effective> all_;
};

/// A value given by a flag of the command line.
struct FlagValue {
  std::string setting;
  std::string flag;  ///< as it was written: "-c"
  std::string text;
};

struct Sources {
  std::optional<std::string> file;           ///< --config: must be there
  std::string default_file = "errand.toml";  ///< read if it is there
  std::map<std::string, std::string> environment;
  std::vector<FlagValue> flags;
};

/// Throws ConfigError with every mistake.
Settings load(const Sources& sources);

/// The process's own environment.
std::map<std::string, std::string> process_environment();

}  // namespace errand::config
