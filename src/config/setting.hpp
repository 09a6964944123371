#pragma once
// The table of settings: every option of Errand once, with its name, type, default, limits and words. The file, the
// environment, the flags, `errand config` and docs/configuration.md are all read from it.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace errand::config {

/// How a setting is written and held. Durations are held in milliseconds, sizes in bytes.
enum class Type { text, integer, boolean, duration, size, choice, list, integers, path, queue };

struct Setting {
  std::string_view group;  ///< heading of the documentation
  std::string_view name;   ///< Celery's lower-case name where it has one
  Type type = Type::text;
  std::string_view fallback;  ///< the default, as text; "": not set
  std::string_view doc;
  std::int64_t least = 0;                 ///< in the unit it is held in
  std::int64_t most = 0;                  ///< 0: no limit of its own
  std::int64_t bare = 1;                  ///< what a number without a unit counts: 1000 for seconds, 1024 for KiB
  std::string_view choices;               ///< "prefork|threads|solo"
  std::string_view flag;                  ///< "-c, --concurrency"; of the commands that list it
  std::string_view metavar;               ///< "N"
  std::array<std::string_view, 2> old{};  ///< upper-case names of older Celery versions
  std::string_view environment;           ///< a second variable besides ERRAND_<NAME>
  bool celery = true;   ///< the name is Celery's: CELERY_<NAME> of a Django settings file is accepted, too
  bool secret = false;  ///< a URL: its password is masked wherever it is shown
};

/// Every setting, in the order of the documentation. The list lives as long as the program.
std::span<const Setting> settings_table();
/// By any of its spellings; nullptr: there is none.
const Setting* find_setting(std::string_view name);
/// "ERRAND_WORKER_CONCURRENCY"; dots become underscores.
std::string environment_name(const Setting& setting);
/// Every spelling a file may use, this setting's own name first.
std::vector<std::string> spellings(const Setting& setting);

/// A setting of Celery that Errand does not have, with what to do instead; nullptr: not known either.
struct Elsewhere {
  std::string_view name;
  std::string_view instead;
};
const Elsewhere* find_elsewhere(std::string_view name);

}  // namespace errand::config
