// Engine, the part that keeps revoked tasks from running and stops those that run.
//
// A running task is asked first (TaskContext::cancelled and check_cancelled), then pressed as by its soft limit, then
// its process is killed; each step gets kEscalateAfter, and what came of it says which step worked.
#include "worker/engine.hpp"

#include <algorithm>
#include <cstdio>

namespace errand::worker {

void Engine::on(Revoked& input, Now now, std::vector<Effect>& out) {
  RevokeTasks here;
  for (const RevokedTask& task : input.tasks) {
    revoked_.add(task.id, now.steady, task.keep);
    here.ids.push_back(task.id);
  }
  if (!held_.empty()) revoke(here, now, out);
}

void Engine::revoke(const RevokeTasks& change, Now now, std::vector<Effect>& out) {
  for (const TaskId& id : change.ids) revoked_.add(id, now.steady);
  for (auto& [run, held] : held_) {
    if (std::find(change.ids.begin(), change.ids.end(), held.arrival.id) == change.ids.end()) continue;
    if (held.phase == Phase::waiting && !held.settled) {
      revoked_result(run, held, "revoked", now, out);
    } else if (held.phase == Phase::dispatched && !held.finishing && !held.lost && (change.terminate || !held.begun)) {
      held.revoked = held.begun ? "terminated" : "revoked";
      if (held.begun) {
        held.told_at = now.steady;
        held.escalated = change.kill ? Cancel::kill : Cancel::cooperative;
        out.push_back(Kill{run, held.escalated, held.revoked});
        held.escalate_at.reset();
        if (!change.kill) held.escalate_at = now.steady + kEscalateAfter;
      }
    }
  }
}

std::string Engine::stopped_how(const Held& held, const Outcome& outcome, Now now) const {
  if (held.told_at == SteadyPoint{}) return {};
  std::string how;
  if (held.escalated == Cancel::kill && outcome.kind == Outcome::Kind::lost) {
    how = "killed";
  } else if (outcome.kind == Outcome::Kind::cancelled || outcome.error_type == "SoftTimeLimitExceeded") {
    how = held.escalated == Cancel::cooperative ? "stopped when asked" : "stopped as by its soft limit";
  } else {
    how = "ended by itself (" + (outcome.error_text.empty() ? std::string("no error") : outcome.error_text) + ")";
  }
  char text[32];
  std::snprintf(text, sizeof text, ", %.2fs after it was told",
                std::chrono::duration<double>(now.steady - held.told_at).count());
  return how + text;
}

}  // namespace errand::worker
