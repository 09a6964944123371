#pragma once
// Nemesis: what goes wrong in a simulated world, and when.

#include "testing/cluster.hpp"

namespace errand::testing {

class Nemesis {
 public:
  explicit Nemesis(Cluster& cluster) : cluster_(cluster) {}
  /// Faults begin; the world heals when their time has passed.
  void begin();
  bool healed() const noexcept { return healed_; }
  SteadyPoint healed_at() const noexcept { return healed_at_; }

 private:
  void strike();
  void heal();
  void one(Fault fault);
  Node& anyone();
  void duplicate();
  void revoke_something();
  void foreign_worker();
  void put_back();

  Cluster& cluster_;
  bool healed_ = true;
  SteadyPoint healed_at_{};
  std::vector<std::shared_ptr<Strand>> foreign_;
  std::uint64_t foreigners_ = 0;
};

}  // namespace errand::testing
