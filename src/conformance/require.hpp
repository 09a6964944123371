#pragma once
// How a row says that a promise was broken, or that it does not apply after all.

#include <errand/error.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::conformance {

struct Failed {
  std::string what;
};
struct Skipped {
  std::string why;
};

/// Throws Failed unless it holds. `what` is the sentence that should have been true.
void require(bool holds, std::string_view what);
void require_equal(std::string_view expected, std::string_view got, std::string_view what);
void require_equal(std::size_t expected, std::size_t got, std::string_view what);
/// Calls it and throws Failed unless it throws Error of that kind.
void require_error(ErrorKind kind, std::string_view what, const std::function<void()>& call);

/// Runs them at the same time and waits for all; what one throws is thrown here.
void at_once(const std::vector<std::function<void()>>& jobs);

}  // namespace errand::conformance
