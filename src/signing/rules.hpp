#pragma once
// Which keys may send a task.

#include <errand/signing.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace errand::signing {

/// The first rule whose pattern fits the task; nullptr: every trusted key may send it.
const TaskSigners* rule_for(const std::vector<TaskSigners>& rules, const std::string& task);
bool names_key(const TaskSigners& rule, std::string_view key_id);

}  // namespace errand::signing
