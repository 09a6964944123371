#pragma once
// The oracle: the same zone as the C library reads it, by other code and other arithmetic.

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace errand::testing {

/// While it lives, the process has this zone. One at a time; no other thread may look at the environment.
class LibcZone {
 public:
  explicit LibcZone(const std::string& name) { set(name.c_str()); }
  LibcZone(const LibcZone&) = delete;
  LibcZone& operator=(const LibcZone&) = delete;
  ~LibcZone() { set(before_.empty() ? nullptr : before_.c_str()); }

  /// Local time minus UTC, both counted in seconds since 1970: from the fields that people read, not from tm_gmtoff.
  std::int64_t offset(std::int64_t utc) const {
    const auto time = static_cast<std::time_t>(utc);
    std::tm fields{};
    ::localtime_r(&time, &fields);
    return static_cast<std::int64_t>(::timegm(&fields)) - utc;
  }

  struct Change {
    std::int64_t at;
    std::int64_t before;
    std::int64_t after;
  };
  /// Every change of the offset, found by asking every six days and halving in between: no zone has had two changes
  /// within six days since 1970 (Gaza will have some within seven), which would show as a difference to the zone under
  /// test.
  std::vector<Change> changes(std::int64_t from, std::int64_t to) const {
    constexpr std::int64_t kStep = 6 * 86'400;
    std::vector<Change> out;
    std::int64_t known = offset(from);
    for (std::int64_t at = from; at < to; at += kStep) {
      const std::int64_t next = offset(at + kStep);
      if (next == known) continue;
      std::int64_t low = at, high = at + kStep;
      while (high - low > 1) {
        const std::int64_t middle = low + (high - low) / 2;
        (offset(middle) == known ? low : high) = middle;
      }
      out.push_back({high, known, next});
      known = next;
    }
    return out;
  }

 private:
  static void set(const char* name) {
    if (name == nullptr) {
      ::unsetenv("TZ");
    } else {
      ::setenv("TZ", name, 1);
    }
    ::tzset();
  }
  std::string before_ = std::getenv("TZ") != nullptr ? std::getenv("TZ") : "";
};

}  // namespace errand::testing
