#include "campaign.hpp"

#include "workload.hpp"

#include <errand/error.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace sim {

using namespace errand::testing;

namespace {

// Each of these happens at least that often per 10 000 seeds, or the campaign shows nothing.
constexpr std::uint64_t kSometimes = 20;
constexpr std::array kRequired{"effect.run",
                               "effect.ack",
                               "effect.requeue",
                               "effect.park",
                               "effect.dead_letter",
                               "effect.dead.REJECTED",
                               "effect.dead.UNKNOWN_TASK",
                               "effect.dead.CRASH_LIMIT",
                               "effect.dead.DELIVERY_LIMIT",
                               "effect.extend",
                               "effect.ask",
                               "effect.soft",
                               "effect.kill",
                               "effect.reclaim",
                               "effect.stale",
                               "effect.result_refused",
                               "effect.chord_part",
                               "effect.chord_complete",
                               "effect.halt.0",
                               "effect.halt.1",
                               "effect.result.SUCCESS",
                               "effect.result.FAILURE",
                               "effect.result.REVOKED",
                               "effect.result.RETRY",
                               "effect.result.STARTED",
                               "effect.result.custom",
                               "input.turn",
                               "input.stop.warm",
                               "input.stop.soft",
                               "input.stop.cold",
                               "input.control.revoke",
                               "input.soft_limit",
                               "input.finished.success",
                               "input.finished.failure",
                               "input.finished.retry",
                               "input.finished.reject",
                               "input.finished.requeue",
                               "input.finished.lost",
                               "input.finished.timed out",
                               "input.finished.cancelled",
                               "return.lease ended",
                               "return.owner dead",
                               "return.answer lost",
                               "return.requeued",
                               "return.visibility timeout",
                               "send.acknowledged",
                               "send.refused",
                               "send.in_doubt"};

struct World {
  std::uint64_t seed = 0;
  Faults faults = all_faults();
  std::size_t tasks = SIZE_MAX, workers = 0;
};

struct Verdict {
  std::string broken;  // empty: all promises kept
  std::string hash;
  std::uint64_t events = 0, simulated_seconds = 0;
  std::map<std::string, std::uint64_t, std::less<>> counters;
};

Verdict judge(const errand::Registry& tasks, const World& world, bool trace) {
  SimulationOptions options = options_of(world.seed, world.faults);
  if (world.workers != 0) options.workers = world.workers;
  Verdict verdict;
  Simulation simulation(tasks, options);
  if (trace) simulation.on_trace([](const std::string& line) { std::puts(line.c_str()); });
  const errand::TimePoint begin = simulation.clock().now();
  try {
    send_workload(simulation, world.seed, world.tasks);
    simulation.run_until_quiet();
  } catch (const BrokenPromise& promise) {
    verdict.broken = promise.what();
  } catch (const errand::Error& error) {
    verdict.broken = std::string("unexpected: ") + error.what();
  }
  verdict.hash = simulation.trace_hash();
  verdict.events = simulation.events();
  verdict.simulated_seconds = static_cast<std::uint64_t>((simulation.clock().now() - begin) / std::chrono::seconds(1));
  verdict.counters = simulation.counters();
  return verdict;
}

std::string invariant_of(const std::string& broken) { return broken.substr(0, broken.find(':')); }

std::string command(const Request& request, const World& world) {
  std::string text = request.program + " --seed " + std::to_string(world.seed);
  if (world.faults != all_faults()) text += " --faults " + format_faults(world.faults);
  if (world.tasks != SIZE_MAX) text += " --tasks " + std::to_string(world.tasks);
  if (world.workers != 0) text += " --workers " + std::to_string(world.workers);
  return text + " --trace";
}

// Fewer kinds of faults, then fewer tasks, then fewer workers, as long as the same promise is broken.
World shrink(const errand::Registry& tasks, World world, const std::string& invariant) {
  const auto still = [&](const World& smaller) {
    return invariant_of(judge(tasks, smaller, false).broken) == invariant;
  };
  world.faults &= options_of(world.seed, world.faults).faults;
  for (unsigned i = 0; i < kFaults; ++i) {
    World smaller = world;
    smaller.faults &= ~(Faults{1} << i);
    if (smaller.faults != world.faults && still(smaller)) world = smaller;
  }
  for (std::size_t count : {1, 2, 4, 8, 16, 32}) {
    World smaller = world;
    smaller.tasks = count;
    if (!still(smaller)) continue;
    world = smaller;
    break;
  }
  for (std::size_t count = 1; count < 4; ++count) {
    World smaller = world;
    smaller.workers = count;
    if (count >= options_of(world.seed, world.faults).workers || !still(smaller)) continue;
    world = smaller;
    break;
  }
  return world;
}

struct Sum {
  std::uint64_t seeds = 0, failed = 0, events = 0, simulated_seconds = 0, twice = 0;
  std::map<std::string, std::uint64_t, std::less<>> counters;
};

void add(Sum& sum, const Verdict& verdict) {
  sum.seeds += 1;
  sum.events += verdict.events;
  sum.simulated_seconds += verdict.simulated_seconds;
  for (const auto& [name, count] : verdict.counters) sum.counters[name] += count;
}

void one_seed(const errand::Registry& tasks, const Request& request, World world, Sum& sum) {
  const Verdict verdict = judge(tasks, world, request.trace);
  add(sum, verdict);
  if (request.single)
    std::printf("hash %s, %llu events\n", verdict.hash.c_str(), static_cast<unsigned long long>(verdict.events));
  if (world.seed % 100 == 0 || request.single) {
    sum.twice += 1;
    const Verdict again = judge(tasks, world, request.trace);
    if (again.hash != verdict.hash) {
      sum.failed += 1;
      std::printf("FAILED seed %llu: I24: two runs have two histories\n  %s\n  %s\n",
                  static_cast<unsigned long long>(world.seed), verdict.broken.c_str(), again.broken.c_str());
      return;
    }
  }
  if (verdict.broken.empty()) return;
  sum.failed += 1;
  std::printf("FAILED seed %llu: %s\n", static_cast<unsigned long long>(world.seed), verdict.broken.c_str());
  if (request.single || request.stop_at_first) {
    std::printf("  again: %s\n", command(request, world).c_str());
    return;
  }
  std::printf("  again: %s\n", command(request, shrink(tasks, world, invariant_of(verdict.broken))).c_str());
}

Sum run_share(const Request& request, std::size_t share) {
  const errand::Registry tasks = registry();
  Sum sum;
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t seed = request.first + share; seed <= request.last; seed += request.jobs) {
    one_seed(tasks, request, {seed, request.faults, request.tasks, request.workers}, sum);
    if (sum.failed > 0 && request.stop_at_first) break;
    if (request.seconds > 0 && std::chrono::steady_clock::now() - begin > std::chrono::seconds(request.seconds)) break;
  }
  return sum;
}

// One line per fact, from a child to its parent.
void write_sum(int file, const Sum& sum) {
  std::ostringstream text;
  text << "seeds " << sum.seeds << "\nfailed " << sum.failed << "\nevents " << sum.events << "\nseconds "
       << sum.simulated_seconds << "\ntwice " << sum.twice << "\n";
  for (const auto& [name, count] : sum.counters) text << "counter:" << name << "\t" << count << "\n";
  const std::string all = text.str();
  std::size_t sent = 0;
  while (sent < all.size()) {
    const ssize_t n = write(file, all.data() + sent, all.size() - sent);
    if (n <= 0) return;
    sent += static_cast<std::size_t>(n);
  }
}

bool read_sum(const std::string& text, Sum& sum) {
  std::istringstream lines(text);
  std::string line;
  bool any = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("counter:")) {
      const std::size_t tab = line.find('\t');
      sum.counters[line.substr(8, tab - 8)] += std::stoull(line.substr(tab + 1));
      continue;
    }
    const std::size_t space = line.find(' ');
    const std::uint64_t value = std::stoull(line.substr(space + 1));
    const std::string name = line.substr(0, space);
    if (name == "seeds") sum.seeds += value, any = true;
    if (name == "failed") sum.failed += value;
    if (name == "events") sum.events += value;
    if (name == "seconds") sum.simulated_seconds += value;
    if (name == "twice") sum.twice += value;
  }
  return any;
}

Sum run_all(const Request& request) {
  if (request.jobs <= 1) return run_share(request, 0);
  std::vector<std::pair<pid_t, int>> children;
  for (std::size_t share = 0; share < request.jobs; ++share) {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("no pipe");
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      write_sum(ends[1], run_share(request, share));
      std::fflush(stdout);
      _exit(0);
    }
    close(ends[1]);
    children.emplace_back(child, ends[0]);
  }
  Sum sum;
  for (const auto& [child, end] : children) {
    std::string text;
    std::array<char, 4096> part;
    ssize_t got = 0;
    while ((got = read(end, part.data(), part.size())) > 0) text.append(part.data(), static_cast<std::size_t>(got));
    close(end);
    int status = 0;
    waitpid(child, &status, 0);
    if (!read_sum(text, sum) || status != 0) {
      sum.failed += 1;
      std::printf("FAILED: a process of the campaign died with status %d\n", status);
    }
  }
  return sum;
}

int run_corpus(const Request& request) {
  const errand::Registry tasks = registry();
  std::ifstream file(request.corpus);
  if (!file) throw std::invalid_argument("cannot read " + request.corpus);
  std::string line;
  Sum sum;
  while (std::getline(file, line)) {
    line = line.substr(0, line.find('#'));
    std::istringstream words(line);
    World world;
    std::string faults;
    if (!(words >> world.seed)) continue;
    if (words >> faults) world.faults = parse_faults(faults);
    Request again = request;
    again.jobs = 1;
    one_seed(tasks, again, world, sum);
  }
  std::printf("corpus: %llu seeds, %llu failed\n", static_cast<unsigned long long>(sum.seeds),
              static_cast<unsigned long long>(sum.failed));
  return sum.failed == 0 ? 0 : 1;
}

// Faults, inputs and effects that this many seeds should have seen and did not.
std::vector<std::string> too_rare(const Sum& sum) {
  std::vector<std::string> names(kRequired.begin(), kRequired.end());
  for (unsigned i = 0; i < kFaults; ++i) names.push_back("fault." + std::string(to_string(static_cast<Fault>(i))));
  const std::uint64_t wanted = kSometimes * sum.seeds / 10'000;
  std::vector<std::string> rare;
  for (const std::string& name : names) {
    const auto found = sum.counters.find(name);
    const std::uint64_t count = found == sum.counters.end() ? 0 : found->second;
    if (count < std::max<std::uint64_t>(wanted, 1)) rare.push_back(name + " (" + std::to_string(count) + ")");
  }
  return rare;
}

}  // namespace

Faults parse_faults(std::string_view text) {
  if (text == "all") return all_faults();
  if (text == "none") return no_faults();
  Faults faults = no_faults();
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
    bool known = false;
    for (unsigned i = 0; i < kFaults; ++i) {
      if (to_string(static_cast<Fault>(i)) != name) continue;
      faults |= Faults{1} << i;
      known = true;
    }
    if (!known) throw std::invalid_argument("no fault is named '" + std::string(name) + "'");
  }
  return faults;
}

std::string format_faults(Faults faults) {
  if (faults == no_faults()) return "none";
  std::string text;
  for (unsigned i = 0; i < kFaults; ++i) {
    if ((faults >> i & 1) == 0) continue;
    text += (text.empty() ? "" : ",") + std::string(to_string(static_cast<Fault>(i)));
  }
  return text;
}

int run(const Request& request) {
  if (!request.corpus.empty()) return run_corpus(request);
  const auto begin = std::chrono::steady_clock::now();
  const Sum sum = run_all(request);
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (request.counters) {
    for (const auto& [name, count] : sum.counters)
      std::printf("  %-32s %llu\n", name.c_str(), static_cast<unsigned long long>(count));
  }
  std::printf("simulated %llu seeds (%llu twice), %llu task lives, %.1f hours, %llu events in %.1f s: %llu failed\n",
              static_cast<unsigned long long>(sum.seeds), static_cast<unsigned long long>(sum.twice),
              static_cast<unsigned long long>(
                  sum.counters.contains("send.acknowledged") ? sum.counters.find("send.acknowledged")->second : 0),
              static_cast<double>(sum.simulated_seconds) / 3600, static_cast<unsigned long long>(sum.events), took,
              static_cast<unsigned long long>(sum.failed));
  bool vacuous = false;
  if (sum.seeds >= 1'000 && request.faults == all_faults()) {
    for (const std::string& name : too_rare(sum)) {
      vacuous = true;
      std::printf("VACUOUS: %s happened too rarely to prove anything\n", name.c_str());
    }
  }
  return sum.failed == 0 && !vacuous ? 0 : 1;
}

}  // namespace sim
