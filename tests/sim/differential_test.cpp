// The models of the simulator against the drivers that they stand for: the same seeded operations, the same answers.
// ERRAND_DIFFERENTIAL_SEEDS says how many sequences each driver gets. A sequence that differs is shrunk and printed.
#include "sim/differential.hpp"
#include "support/folder.hpp"
#include "support/redis_server.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

using namespace sim;
using errand::testing::Flavour;
using errand::testing::Folder;
using errand::testing::RedisServer;

namespace {

// Leaves out what the difference does not need.
std::vector<Operation> shrunk(const Subject& subject, std::vector<Operation> operations) {
  for (std::size_t part = operations.size() / 2; part > 0; part /= 2) {
    for (std::size_t at = 0; at < operations.size();) {
      std::vector<Operation> fewer = operations;
      const auto from = fewer.begin() + static_cast<std::ptrdiff_t>(at);
      fewer.erase(from, from + static_cast<std::ptrdiff_t>(std::min(part, fewer.size() - at)));
      if (difference(subject, fewer).empty())
        at += part;
      else
        operations = std::move(fewer);
    }
  }
  return operations;
}

void compare(const Subject& subject) {
  const char* wanted = std::getenv("ERRAND_DIFFERENTIAL_SEEDS");
  const std::uint64_t seeds = wanted == nullptr ? 200 : std::strtoull(wanted, nullptr, 10);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::vector<Operation> operations = operations_of(seed);
    if (difference(subject, operations).empty()) continue;
    const std::vector<Operation> fewer = shrunk(subject, operations);
    std::string text = "seed " + std::to_string(seed) + ": " + difference(subject, fewer) + "\nafter";
    for (const Operation& operation : fewer)
      text += "\n  " + std::string(name_of(operation)) + " " + std::to_string(operation.chance);
    FAIL(text);
  }
}

}  // namespace

TEST_CASE("the model of the SQLite driver answers as the driver does") {
  const Folder folder;
  compare({"sqlite:///" + folder.file(), Flavour::sqlite});
}

TEST_CASE("the memory driver answers as the model of the SQLite driver does") {
  compare({"memory://differential", Flavour::sqlite});
}

TEST_CASE("the model of the Redis driver answers as the driver does") {
  RedisServer server;
  if (server.runs()) compare({server.url(), Flavour::redis});
}
