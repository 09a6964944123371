#pragma once
// A campaign: many seeds, judged one by one and together.

#include <errand/testing.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sim {

struct Request {
  std::string program;
  std::uint64_t first = 1, last = 1'000;
  bool single = false;
  std::string corpus;
  errand::testing::Faults faults = errand::testing::all_faults();
  std::size_t tasks = SIZE_MAX;
  std::size_t workers = 0;    ///< 0: as the seed says
  std::size_t jobs = 1;       ///< processes
  std::uint64_t seconds = 0;  ///< no new seed after that long; 0: all of them
  bool trace = false, stop_at_first = false, counters = false;
};

/// "pause,lost_answer", "all", "none". Throws std::invalid_argument naming what is wrong.
errand::testing::Faults parse_faults(std::string_view text);
std::string format_faults(errand::testing::Faults faults);

/// Runs it and prints what came of it. Returns the exit code.
int run(const Request& request);

}  // namespace sim
