#include "signing/rules.hpp"

#include <fnmatch.h>
#include <algorithm>

namespace errand::signing {

const TaskSigners* rule_for(const std::vector<TaskSigners>& rules, const std::string& task) {
  const auto rule = std::find_if(rules.begin(), rules.end(), [&](const TaskSigners& one) {
    return fnmatch(one.pattern.c_str(), task.c_str(), 0) == 0;
  });
  return rule == rules.end() ? nullptr : &*rule;
}

bool names_key(const TaskSigners& rule, std::string_view key_id) {
  return std::find(rule.key_ids.begin(), rule.key_ids.end(), key_id) != rule.key_ids.end();
}

}  // namespace errand::signing
