#pragma once
// Runs a conformance table inside doctest: one line for each row that says something, a failure for each that fails.

#include <errand/conformance.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace errand::testing {

inline void expect_all(const std::vector<conformance::Outcome>& outcomes) {
  std::size_t passed = 0;
  for (const conformance::Outcome& outcome : outcomes) {
    const std::string line =
        std::string(outcome.name) + " " + std::string(conformance::to_string(outcome.verdict)) + ": " + outcome.text;
    passed += outcome.verdict == conformance::Verdict::passed ? 1 : 0;
    if (outcome.verdict == conformance::Verdict::failed)
      FAIL_CHECK(line << " (" << outcome.promise << ")");
    else if (!outcome.text.empty())
      MESSAGE(line);
  }
  // A table of which nothing ran has proved nothing.
  CHECK(passed * 2 > outcomes.size());
}

}  // namespace errand::testing
