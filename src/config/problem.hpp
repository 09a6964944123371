#pragma once
// Mistakes in a configuration: all of them are collected, then said at once.

#include <errand/error.hpp>

#include <string>
#include <utility>
#include <vector>

namespace errand::config {

/// One mistake: where it stands ("errand.toml:3", "environment ERRAND_LOG_LEVEL", "-c") and what is wrong.
struct Problem {
  std::string where;
  std::string text;
};

using Problems = std::vector<Problem>;

/// Wrong configuration: programs end with exit code 78 (EX_CONFIG). what() has one line for each mistake.
class ConfigError : public Error {
 public:
  explicit ConfigError(Problems problems);
  const Problems& problems() const noexcept { return problems_; }

 private:
  Problems problems_;
};

}  // namespace errand::config
