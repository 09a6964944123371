#pragma once
// A directory of a test's own, deleted when the test ends.

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace errand::testing {

struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "errand-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw std::filesystem::filesystem_error("mkdtemp", name, std::error_code(errno, std::generic_category()));
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string file(const std::string& name = "errand.db") const { return path + "/" + name; }

  std::string path;
};

}  // namespace errand::testing
