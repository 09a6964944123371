#pragma once
// The nemesis: which fault comes next, drawn from a seed. It decides and does nothing.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace errand::chaos {

struct Fault {
  std::string kind;          ///< kill, stop, server, clients, disk
  std::uint32_t victim = 0;  ///< number of a worker
  long lasts_ms = 0;         ///< until it heals; 0: at once
};

class Nemesis {
 public:
  Nemesis(std::uint64_t seed, std::vector<std::string> kinds, std::uint32_t workers, long lease_ms)
      : random_(seed), kinds_(std::move(kinds)), workers_(workers), lease_ms_(lease_ms) {}

  bool idle() const noexcept { return kinds_.empty() || workers_ == 0; }
  Fault next() {
    Fault fault;
    fault.kind = kinds_[random_() % kinds_.size()];
    // Each in turn, so that every worker gets its share.
    fault.victim = turn_++ % workers_;
    const auto lease = static_cast<std::uint64_t>(lease_ms_);
    if (fault.kind == "stop") fault.lasts_ms = static_cast<long>(lease * 3 / 2 + random_() % lease);
    if (fault.kind == "disk" || fault.kind == "server") fault.lasts_ms = static_cast<long>(500 + random_() % 1'500);
    return fault;
  }

 private:
  std::mt19937_64 random_;
  std::vector<std::string> kinds_;
  std::uint32_t workers_;
  long lease_ms_;
  std::uint32_t turn_ = 0;
};

}  // namespace errand::chaos
