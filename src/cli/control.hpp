#pragma once
// Asking workers: one broadcast, and the answers that come within a time.

#include <errand/broker.hpp>

#include <string>
#include <vector>

namespace errand::cli {

/// One worker's answer: its node name and what it says.
struct WorkerAnswer {
  std::string worker;
  Value answer;
};

/// Sends the command to all workers that listen now, in Celery's pidbox format, and collects answers until the
/// deadline. Empty where the broker cannot broadcast.
std::vector<WorkerAnswer> ask_workers(Broker& broker, const std::string& method, Object arguments, Deadline deadline);

}  // namespace errand::cli
