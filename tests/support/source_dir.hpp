#pragma once
// Where the files of this repository are, for tests that read or rewrite them.

#include <string>

namespace errand::testing {

/// The path is compiled into one file and no other, so that a compiler cache serves the tests of every clone.
std::string source_dir();

}  // namespace errand::testing
