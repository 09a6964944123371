// errand-sim: runs simulated worlds and says which of them broke a promise.
//
//   errand-sim --seeds 1..10000 --jobs 2          a campaign; exit 1 when a seed failed or the faults were too rare
//   errand-sim --seed 4711 --trace                one world, every line of it
//   errand-sim --corpus tests/sim/seeds.txt       the seeds that found something once
//
// A failing seed is printed with the command that runs it again, shrunk: fewer kinds of faults, fewer tasks, fewer
// workers. The same commit and seed give the same trace; every hundredth seed runs twice to prove it (I24).
#include "campaign.hpp"

#include <charconv>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
    throw std::invalid_argument("expected a number, got '" + std::string(text) + "'");
  }
  return value;
}

sim::Request read(int argc, char** argv) {
  sim::Request request;
  request.program = argv[0];
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const auto value = [&]() -> std::string_view {
      if (++i >= argc) throw std::invalid_argument(std::string(flag) + " wants a value");
      return argv[i];
    };
    if (flag == "--seeds") {
      const std::string_view range = value();
      const std::size_t dots = range.find("..");
      if (dots == std::string_view::npos) throw std::invalid_argument("--seeds wants FIRST..LAST");
      request.first = number(range.substr(0, dots));
      request.last = number(range.substr(dots + 2));
    } else if (flag == "--seed") {
      request.first = request.last = number(value());
      request.single = true;
    } else if (flag == "--corpus") {
      request.corpus = value();
    } else if (flag == "--faults") {
      request.faults = sim::parse_faults(value());
    } else if (flag == "--tasks") {
      request.tasks = number(value());
    } else if (flag == "--workers") {
      request.workers = number(value());
    } else if (flag == "--jobs") {
      request.jobs = number(value());
    } else if (flag == "--seconds") {
      request.seconds = number(value());
    } else if (flag == "--trace") {
      request.trace = true;
    } else if (flag == "--stop-at-first") {
      request.stop_at_first = true;
    } else if (flag == "--counters") {
      request.counters = true;
    } else {
      throw std::invalid_argument("unknown option " + std::string(flag));
    }
  }
  return request;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    return sim::run(read(argc, argv));
  } catch (const std::invalid_argument& wrong) {
    std::fprintf(stderr, "errand-sim: %s\n", wrong.what());
    return 2;
  }
}
