#pragma once
// Queues with what they hold, for `errand status` and `errand queues`.

#include "cli/context.hpp"

#include <string>
#include <vector>

namespace errand::cli {

/// Queues that exist, and those that the configuration names; sorted. Reply queues of control commands are left out.
std::vector<QueueInfo> all_queues(Context& context, Broker& broker);
Value queues_to_json(const std::vector<QueueInfo>& queues);
void print_queues(Context& context, const std::vector<QueueInfo>& queues);

}  // namespace errand::cli
