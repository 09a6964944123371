#pragma once
// One scenario: a small workload, a worker with one fail point armed, a healthy one after it, a drain, and the judge.

#include "chaos/judge.hpp"

#include <map>
#include <string>
#include <vector>

namespace errand::chaos {

/// Who passes the point, and when.
enum class Where {
  worker,    ///< while it works
  rescuer,   ///< when it gives back what a worker that died before it had held
  stopping,  ///< when it was told to stop
  sender,
};

struct Scenario {
  std::string point;
  std::string action;  ///< kill, pause=2200ms, error=unavailable
  std::string broker;  ///< sqlite or redis
  Where where = Where::worker;
  bool two_stores = false;  ///< results elsewhere: every step of a commit by itself
  std::string name() const { return point + " " + action + " on " + broker + (two_stores ? " and another store" : ""); }
};

struct Outcome {
  std::vector<std::string> breaks;
  Verdict verdict;
  std::map<std::string, std::map<std::uint32_t, int>> begins;  ///< id, attempt -> how often it began
  bool armed_died = false;                      ///< the worker that was armed had ended before it was told to
  std::size_t queued_after_armed = 0;           ///< messages that the armed sender left
  std::vector<std::string> succeeded_at_death;  ///< stored so when the armed worker had died
  std::string armed_log;                        ///< all of it
  std::string log;                              ///< ends of all, when something broke
};

/// Needs a running Redis server for broker redis.
Outcome run_scenario(const Scenario& scenario, int redis_port);

/// All of them, several at a time, for they mostly wait. In the order given.
std::vector<Outcome> run_scenarios(const std::vector<Scenario>& scenarios, int redis_port);

}  // namespace errand::chaos
