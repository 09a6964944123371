#include "conformance/run_table.hpp"

#include <doctest/doctest.h>

namespace errand::testing {

void expect_all(const std::vector<conformance::Outcome>& outcomes) {
  std::size_t passed = 0;
  for (const conformance::Outcome& outcome : outcomes) {
    const std::string line =
        std::string(outcome.name) + " " + std::string(conformance::to_string(outcome.verdict)) + ": " + outcome.text;
    passed += outcome.verdict == conformance::Verdict::passed ? 1 : 0;
    if (outcome.verdict == conformance::Verdict::failed) {
      FAIL_CHECK(line << " (" << outcome.promise << ")");
    } else if (!outcome.text.empty()) {
      MESSAGE(line);
    }
  }
  // A table of which hardly anything ran has proved nothing.
  CHECK(passed * 2 > outcomes.size());
}

}  // namespace errand::testing
