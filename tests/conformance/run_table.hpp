#pragma once
// Runs a conformance table inside doctest: one line for each row that says something, a failure for each that fails.

#include <errand/conformance.hpp>

namespace errand::testing {

void expect_all(const std::vector<conformance::Outcome>& outcomes);

}  // namespace errand::testing
