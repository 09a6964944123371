#pragma once
// docs/configuration.md and `errand config --markdown`, written from the table so that they cannot be stale.

#include <string>

namespace errand::config {

std::string configuration_markdown();

}  // namespace errand::config
