// The in-memory driver keeps every promise of the tables.
#include "conformance/run_table.hpp"

#include <errand/drivers.hpp>

#include <doctest/doctest.h>

using namespace errand;

TEST_CASE("memory: the broker keeps its promises") {
  testing::expect_all(
      conformance::check_broker({.open = [] { return open_broker("memory://conformance", {.max_dead_letters = 8}); },
                                 .open_results = [] { return open_result_backend("memory://conformance"); }}));
}

TEST_CASE("memory: the result backend keeps its promises") {
  testing::expect_all(conformance::check_backend({.open = [] { return open_result_backend("memory://conformance"); }}));
}
