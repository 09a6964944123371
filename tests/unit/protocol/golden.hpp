#pragma once
// Reads the vectors of tests/golden.

#include "support/source_dir.hpp"

#include <errand/value.hpp>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace errand::golden {

inline Value load(const std::string& name) {
  const std::string path = testing::source_dir() + "/tests/golden/" + name;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot open " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_json(text.str(), {.nodes = 1'000'000});
}

}  // namespace errand::golden
