#include "support/source_dir.hpp"

namespace errand::testing {

std::string source_dir() { return ERRAND_SOURCE_DIR; }

}  // namespace errand::testing
