#include "beat/zone_files.hpp"

#include "beat/shown.hpp"
#include "beat/tzif.hpp"
#include "core/ascii.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"

#include <errand/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

namespace errand::beat {
namespace {

constexpr std::size_t kLongestName = 100;  // the longest of tzdata has 32 characters
constexpr std::size_t kLongestShown = 60;
constexpr std::size_t kMostEntries = 20'000;
constexpr int kDeepest = 3;  // America/Argentina/Ushuaia is two below

[[noreturn]] void refuse(ErrorKind kind, std::string_view name, std::string detail, std::string code = {}) {
  throw Error({.kind = kind,
               .operation = "time_zone",
               .subject = shown(name, kLongestShown),
               .detail = std::move(detail),
               .code = std::move(code)});
}

// The name becomes a path, so it may not lead out of the directory, and nothing but a name looks like one.
bool could_be_name(std::string_view name) {
  if (name.empty() || name.size() > kLongestName || name.front() == '/' || name.back() == '/') return false;
  const auto may_be = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '_' ||
           c == '-' || c == '+';
  };
  return std::all_of(name.begin(), name.end(), may_be) && name.find("//") == std::string_view::npos;
}

struct Content {
  std::string bytes;
  int error = 0;  ///< errno; 0: read
};

Content read_file(const std::string& path) {
  // Not blocking: a name may lead to a pipe that nobody writes to.
  const core::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return {.error = errno};
  struct stat about{};
  if (::fstat(file.get(), &about) != 0) return {.error = errno};
  // A folder is no zone: "Europe" is as unknown as "Lundon".
  if (!S_ISREG(about.st_mode)) return {.error = ENOENT};
  Content out;
  out.bytes.resize(kLongestZoneFile + 1);
  std::size_t size = 0;
  while (size < out.bytes.size()) {
    const ssize_t got = ::read(file.get(), out.bytes.data() + size, out.bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {.error = errno};
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  out.bytes.resize(size);
  return out;
}

bool is_zone_file(const std::filesystem::path& path) {
  const core::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  char magic[4] = {};
  return file && ::read(file.get(), magic, sizeof magic) == sizeof magic && std::memcmp(magic, "TZif", 4) == 0;
}

// The name that was meant: a misspelt one, one in other capitals, or the city alone.
std::string meant(std::string_view name, const std::vector<std::string>& known) {
  const auto same = [](char one, char other) { return core::ascii_lower(one) == core::ascii_lower(other); };
  const auto equal = [&](std::string_view one, std::string_view other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(), same);
  };
  for (const std::string& one : known) {
    if (equal(one, name)) return one;
  }
  for (const std::string& one : known) {
    if (equal(std::string_view(one).substr(one.rfind('/') + 1), name)) return one;
  }
  return std::string(core::nearest_word(name, {known.begin(), known.end()}));
}

[[noreturn]] void refuse_unknown(std::string_view name, const std::string& directory) {
  const std::vector<std::string> known = zone_names(directory);
  if (known.empty()) {
    refuse(ErrorKind::unavailable, name,
           "expected the time zone database in " + directory +
               ", found none; install the Debian package tzdata, or use UTC, which needs no database");
  }
  const std::string near = meant(name, known);
  refuse(ErrorKind::invalid, name,
         "expected a name of the time zone database such as Europe/London, got '" + shown(name, kLongestShown) + "'; " +
             (near.empty() ? "see " + directory + "; old names such as US/Eastern are in Debian's package tzdata-legacy"
                           : "did you mean " + near + "?"));
}

}  // namespace

std::string zone_directory(const std::string& given) {
  if (!given.empty()) return given;
  const char* set = std::getenv("TZDIR");
  return set != nullptr && *set != '\0' ? set : "/usr/share/zoneinfo";
}

std::vector<std::string> zone_names(const std::string& directory) {
  namespace fs = std::filesystem;
  std::vector<std::string> names;
  std::error_code failed;
  std::size_t entries = 0;
  for (fs::recursive_directory_iterator at(directory, fs::directory_options::skip_permission_denied, failed), end;
       !failed && at != end && names.size() < kMostZones && entries < kMostEntries; at.increment(failed), ++entries) {
    std::error_code unknown;
    const std::string name = at->path().lexically_relative(directory).generic_string();
    if (at->is_directory(unknown)) {
      if (at.depth() >= kDeepest || name == "posix" || name == "right") at.disable_recursion_pending();
    } else if (could_be_name(name) && at->is_regular_file(unknown) && is_zone_file(at->path())) {
      // `localtime` is this machine's own choice, `posixrules` a default of old programs.
      if (name != "localtime" && name != "posixrules") names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

ZoneRules read_zone(std::string_view name, const std::string& directory) {
  if (!could_be_name(name)) refuse_unknown(name, directory);
  const std::string path = directory + "/" + std::string(name);
  const Content file = read_file(path);
  if (file.error == ENOENT || file.error == ENOTDIR) refuse_unknown(name, directory);
  if (file.error != 0) {
    refuse(ErrorKind::unavailable, name, "cannot read " + path + ": " + std::strerror(file.error),
           std::to_string(file.error));
  }
  ZoneRules rules;
  rules.name = std::string(name);
  switch (read_tzif(file.bytes, rules)) {
    case TzifVerdict::good:
      return rules;
    case TzifVerdict::not_tzif:
      refuse_unknown(name, directory);
    case TzifVerdict::leap_seconds:
      refuse(ErrorKind::invalid, name,
             "expected a zone whose clocks are UTC's, got one that counts leap seconds; leave out right/");
    case TzifVerdict::damaged:
      break;
  }
  refuse(ErrorKind::unavailable, name, "expected a TZif file in " + path + ", it is damaged; install tzdata again");
}

}  // namespace errand::beat
