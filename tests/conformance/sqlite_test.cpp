// The SQLite driver keeps every promise of the tables.
#include "conformance/run_table.hpp"
#include "support/folder.hpp"

#include <errand/drivers.hpp>

#include <doctest/doctest.h>

using namespace errand;

TEST_CASE("sqlite: the broker keeps its promises") {
  const testing::Folder folder;
  const std::string url = "sqlite:///" + folder.path + "/errand.db";
  testing::expect_all(conformance::check_broker({.open = [&] { return open_broker(url, {.max_dead_letters = 8}); },
                                                 .open_results = [&] { return open_result_backend(url); }}));
}

TEST_CASE("sqlite: the result backend keeps its promises") {
  const testing::Folder folder;
  const std::string url = "sqlite:///" + folder.path + "/errand.db";
  testing::expect_all(conformance::check_backend({.open = [&] { return open_result_backend(url); }}));
}
