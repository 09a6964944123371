#include "chaos/judge.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <set>

namespace errand::chaos {

namespace {

constexpr std::size_t kPage = 500;

std::map<std::string, DeadLetter> dead_letters(Broker& broker) {
  std::map<std::string, DeadLetter> out;
  std::string after;
  for (;;) {
    std::vector<DeadLetter> page = broker.dead_letters(kQueue, kPage, after);
    if (page.empty()) return out;
    after = page.back().id;
    for (DeadLetter& one : page) {
      const std::string id = one.task_id;
      out[id] = std::move(one);
    }
  }
}

struct Attempt {
  std::vector<std::int64_t> begins, ends;
};
using Attempts = std::map<std::uint32_t, Attempt>;

class Bench {
 public:
  Bench(const Workload& workload, const Excuses& excuses) : workload_(workload), excuses_(excuses) {}

  void hear(const std::string& sent, const std::string& effects) {
    read_ledger(sent, [&](const Line& line) {
      if (line.step == Step::attempted) attempted_.emplace(line.id);
      if (line.step == Step::acknowledged) acknowledged_.emplace(line.id);
    });
    read_ledger(effects, [&](const Line& line) {
      Attempt& attempt = lives_[std::string(line.id)][line.attempt];
      (line.step == Step::begin ? attempt.begins : attempt.ends).push_back(line.at_us);
    });
  }

  Verdict judge(Broker& broker, ResultBackend& results) {
    dead_ = dead_letters(broker);
    for (const auto& [id, expected] : workload_.expected) {
      const std::string& call = workload_.call_of.at(id);
      const bool acknowledged = acknowledged_.contains(call);
      const bool seen = lives_.contains(call) || dead_.contains(call);
      // A call whose answer was lost may be there or not; once it is, it must finish.
      if (!acknowledged && !seen) continue;
      ends(id, expected, results);
      runs(id, expected);
      order(id, expected);
    }
    unexpected();
    empty(broker);
    return std::move(verdict_);
  }

 private:
  void broken(std::string_view what, const std::string& id, const std::string& how) {
    verdict_.breaks.push_back(std::string(what) + " " + id + ": " + how);
  }

  void ends(const std::string& id, const Expected& expected, ResultBackend& results) {
    const auto stored = results.get(id);
    const std::string state = stored ? stored->state : std::string("nothing");
    const auto dead = dead_.find(id);
    if (expected.end == End::dead) {
      if (dead == dead_.end()) return broken("I1", id, "not among the dead letters; stored: " + state);
      return letter(id, expected, dead->second);
    }
    if (dead != dead_.end()) broken("I1", id, "dead-lettered as " + dead->second.reason + " " + dead->second.detail);
    const std::string_view wanted = expected.end == End::success ? state::success : state::failure;
    if (state != wanted) broken("I1", id, "expected " + std::string(wanted) + ", stored: " + state);
  }

  void letter(const std::string& id, const Expected& expected, const DeadLetter& dead) {
    if (dead.reason != expected.reason) broken("I26", id, "reason " + dead.reason);
    if (dead.raw.find(id) == std::string::npos) broken("I26", id, "the original bytes do not name it");
    if (dead.deliveries == 0 || dead.first_seen > dead.last_seen) broken("I26", id, "counts or times are wrong");
  }

  void runs(const std::string& id, const Expected& expected) {
    const auto life = lives_.find(id);
    const std::size_t found = life == lives_.end() ? 0 : life->second.size();
    if (!expected.runs) {
      if (found > 0) broken("I8", id, "its body ran");
      return;
    }
    if (found != expected.attempts) {
      return broken("I11", id,
                    "expected " + std::to_string(expected.attempts) + " attempts, got " + std::to_string(found));
    }
    std::uint32_t number = 0;
    for (const auto& [retries, attempt] : life->second) {
      if (retries != number++) broken("I11", id, "attempt " + std::to_string(retries) + " is not the next");
      verdict_.executions += attempt.begins.size();
      if (attempt.begins.size() > 1) verdict_.repeated += 1;
      if (attempt.begins.size() > 1 + excuses_.repeats) {
        broken("I5", id,
               "attempt " + std::to_string(retries) + " began " + std::to_string(attempt.begins.size()) + " times");
      }
    }
  }

  std::int64_t first_begin(const std::string& id) const {
    const auto life = lives_.find(id);
    if (life == lives_.end()) return std::numeric_limits<std::int64_t>::max();
    std::int64_t first = std::numeric_limits<std::int64_t>::max();
    for (const auto& [retries, attempt] : life->second) {
      for (const std::int64_t at : attempt.begins) first = std::min(first, at);
    }
    return first;
  }
  std::int64_t first_end(const Attempt& attempt) const {
    return attempt.ends.empty() ? std::numeric_limits<std::int64_t>::max()
                                : *std::min_element(attempt.ends.begin(), attempt.ends.end());
  }

  void order(const std::string& id, const Expected& expected) {
    const auto life = lives_.find(id);
    if (life == lives_.end()) return;
    const std::int64_t begin = first_begin(id);
    if (begin < expected.not_before_us)
      broken("I10", id, "began " + std::to_string(expected.not_before_us - begin) + " us early");
    for (const std::string& before : expected.after) {
      const auto other = lives_.find(before);
      const std::int64_t ended = other == lives_.end() ? 0 : first_end(other->second.rbegin()->second);
      if (other == lives_.end() || ended > begin) broken("I8", id, "began before " + before + " had ended");
    }
    const Attempt* last = nullptr;
    for (const auto& [retries, attempt] : life->second) {
      if (last != nullptr && !attempt.begins.empty()) {
        const std::int64_t next = *std::min_element(attempt.begins.begin(), attempt.begins.end());
        if (next < first_end(*last) + expected.retry_wait_us) {
          broken("I11", id, "attempt " + std::to_string(retries) + " came too early");
        }
      }
      last = &attempt;
    }
  }

  void unexpected() {
    for (const auto& [id, life] : lives_) {
      if (!workload_.expected.contains(id)) broken("I3", id, "ran, and nobody sent it");
    }
    for (const auto& [id, letter] : dead_) {
      if (!workload_.expected.contains(id)) broken("I3", id, "is dead, and nobody sent it");
    }
    for (const auto& [id, expected] : workload_.expected) {
      if (lives_.contains(id) && !attempted_.contains(workload_.call_of.at(id)))
        broken("I3", id, "ran before it was sent");
    }
  }

  void empty(Broker& broker) {
    const QueueInfo info = broker.inspect(kQueue);
    if (info.ready + info.parked + info.leased == 0) return;
    broken("I1", std::string(kQueue),
           "holds " + std::to_string(info.ready) + " ready, " + std::to_string(info.parked) + " parked, " +
               std::to_string(info.leased) + " leased after the drain");
  }

  const Workload& workload_;
  const Excuses& excuses_;
  std::set<std::string, std::less<>> attempted_, acknowledged_;
  std::map<std::string, Attempts> lives_;
  std::map<std::string, DeadLetter> dead_;
  Verdict verdict_;
};

}  // namespace

std::vector<std::string> unfinished(const Workload& workload, Broker& broker, ResultBackend& results) {
  const auto dead = dead_letters(broker);
  std::vector<std::string> out;
  for (const auto& [id, expected] : workload.expected) {
    if (dead.contains(id)) continue;
    const auto stored = results.get(id);
    if (!stored || !state::ready(stored->state)) out.push_back(id);
  }
  const QueueInfo info = broker.inspect(kQueue);
  if (out.empty() && info.ready + info.parked + info.leased > 0) out.push_back("(messages)");
  return out;
}

Verdict judge(const Workload& workload, const std::string& sent, const std::string& effects, Broker& broker,
              ResultBackend& results, const Excuses& excuses) {
  Bench bench(workload, excuses);
  bench.hear(sent, effects);
  return bench.judge(broker, results);
}

}  // namespace errand::chaos
