#pragma once
// The tasks of the demo, shared by the worker that runs them and the program that sends them.

#include <errand/task.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace demo {

inline constexpr errand::Task<std::int64_t(std::int64_t, std::int64_t)> add{"demo.add", {"a", "b"}};

/// Fails twice before it succeeds, as a provider on a bad day does.
inline constexpr errand::Task<std::string(std::string)> fetch_quote{"demo.fetch_quote", {"symbol"}};

/// Takes its time and says how far it is.
inline constexpr errand::Task<std::int64_t(std::int64_t)> import_rows{"demo.import_rows", {"rows"}};

/// Refuses what no retry can cure.
inline constexpr errand::Task<std::string(std::string, std::int64_t)> charge_card{"demo.charge_card",
                                                                                  {"card", "cents"}};

/// Dies by a signal: its process is lost, the worker and the other tasks are not.
inline constexpr errand::Task<void()> crash{"demo.crash", {}};

}  // namespace demo
