#pragma once
// The table [signing] of the file: what this process signs with, and what its queues ask for.

#include "config/sections.hpp"
#include "config/toml_file.hpp"

#include <errand/signing.hpp>

#include <string>
#include <vector>

namespace errand::config {

/// The options as the file says them; mistakes go to `problems`. Key files are not opened here.
SigningOptions read_signing(const Node& table, const std::string& file, Problems& problems);

/// Its keys with their words, for docs/configuration.md.
const std::vector<TableKey>& signing_keys();

}  // namespace errand::config
