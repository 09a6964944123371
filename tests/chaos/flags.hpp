#pragma once
// `--name value` pairs of a command line, for a program that is only started by tests.

#include <map>
#include <stdexcept>
#include <string>

namespace errand::chaos {

class Flags {
 public:
  Flags(int argc, char** argv, int from) {
    for (int i = from; i < argc; i += 2) {
      const std::string name = argv[i];
      if (!name.starts_with("--") || i + 1 >= argc) throw std::invalid_argument("expected --name value, got " + name);
      values_[name.substr(2)] = argv[i + 1];
    }
  }
  std::string text(const std::string& name, const std::string& otherwise = "") const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  long number(const std::string& name, long otherwise = 0) const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : std::stol(found->second);
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace errand::chaos
