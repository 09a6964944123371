#pragma once
// What the chaos tests send and what must come of it: a task of every kind whose life has steps of its own.

#include "chaos/ledger.hpp"

#include <errand/errand.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace errand::chaos {

inline constexpr std::string_view kQueue = "chaos";

enum class End { success, failure, dead };

/// What must be found of one task when everything has come to rest.
struct Expected {
  End end = End::success;
  std::uint32_t attempts = 1;      ///< bodies that run: first try and retries
  std::int64_t retry_wait_us = 0;  ///< shortest time between two of them
  std::int64_t not_before_us = 0;  ///< an ETA
  std::vector<std::string> after;  ///< tasks that must have ended first: earlier steps, members of a chord
  bool runs = true;                ///< false: its body must never begin
  std::string reason;              ///< of a dead letter
};

struct Workload {
  std::vector<Signature> calls;                ///< in the order they are sent
  std::map<std::string, Expected> expected;    ///< by id, what follows a call included
  std::map<std::string, std::string> call_of;  ///< id -> id of the call it follows from (itself, for a call)
};

/// Ids begin with `run`, so that they are known before anything is sent and a call that is sent again has the same.
Workload make_workload(const std::string& run, std::size_t plain = 12);

/// The tasks. Both must outlive the registry.
void add_tasks(Registry& registry, Ledger& ledger);

}  // namespace errand::chaos
