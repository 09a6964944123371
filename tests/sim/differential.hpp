#pragma once
// Sequences of operations for the models of the simulator and the drivers that they stand for.

#include "testing/store_model.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

/// A driver, and whose ways its model follows.
struct Subject {
  std::string url;
  errand::testing::Flavour flavour;
};

/// What it does depends on what is there when it comes, so that any part of a sequence is a sequence.
struct Operation {
  std::size_t kind = 0;
  std::uint64_t chance = 0;
};
std::string_view name_of(const Operation& operation);

std::vector<Operation> operations_of(std::uint64_t seed);

/// What the driver and its model answer differently, on queues and ids of their own; "": nothing.
std::string difference(const Subject& subject, const std::vector<Operation>& operations);

}  // namespace sim
