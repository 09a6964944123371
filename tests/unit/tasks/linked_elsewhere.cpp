#include "linked.hpp"

#include <errand/registry.hpp>

#include <chrono>

namespace {
const errand::Linked task{
    linked_elsewhere, [](int x) { return x + 1; }, {.retry = errand::RetryPolicy::fixed(std::chrono::seconds{5}, 2)}};
}  // namespace
