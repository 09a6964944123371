// Calls that must not compile, one per CASE; case 0 is the same program without a mistake. See CMakeLists.txt.
#include <errand/client.hpp>
#include <errand/registry.hpp>
#include <errand/task.hpp>

#include <string>
#include <vector>

inline constexpr errand::Task<int(std::string, int)> thumbnail{"media.thumbnail", {"path", {"width", 200}}};
inline constexpr errand::Task<void(std::vector<int>, bool)> sum{"sum", {"items", "strict"}};

struct Unknown {};

void use(errand::Registry& registry, errand::Client& client) {
  registry.add(thumbnail, [](errand::TaskContext&, const std::string& path, int width) {
    return width + static_cast<int>(path.size());
  });
  static_cast<void>(client.send(thumbnail("cat.png", 200L).on("media")));
  static_cast<void>(sum(std::vector<int>{1}, true));
  const int bytes = client.send(thumbnail("cat.png")).get();
  static_cast<void>(bytes);
#if CASE == 1  // too many arguments
  static_cast<void>(thumbnail("cat.png", 200, 3));
#elif CASE == 2   // text for a number
  static_cast<void>(thumbnail("cat.png", "200"));
#elif CASE == 3   // a number for text
  static_cast<void>(thumbnail(5, 200));
#elif CASE == 4   // a float would be cut
  static_cast<void>(thumbnail("cat.png", 2.5));
#elif CASE == 5   // a pointer is not a bool
  static_cast<void>(sum(std::vector<int>{1}, "yes"));
#elif CASE == 6   // a number is not a list of that many items
  static_cast<void>(sum(5, true));
#elif CASE == 7   // a type without a form in JSON
  constexpr errand::Task<void(Unknown)> wrong{"wrong", {"x"}};
  static_cast<void>(wrong);
#elif CASE == 8   // a name too few
  constexpr errand::Task<void(int, int)> wrong{"wrong", {"x"}};
  static_cast<void>(wrong);
#elif CASE == 9   // a required parameter behind one with a default
  constexpr errand::Task<void(int, int)> wrong{"wrong", {{"x", 1}, "y"}};
  static_cast<void>(wrong);
#elif CASE == 10  // one name twice
  constexpr errand::Task<void(int, int)> wrong{"wrong", {"x", "x"}};
  static_cast<void>(wrong);
#elif CASE == 11  // a function with other parameters
  registry.add(thumbnail, [](std::vector<int>) { return 1; });
#elif CASE == 12  // a function with another result
  registry.add(thumbnail, [](std::string path, int) { return path; });
#elif CASE == 13  // a result read as another type
  std::vector<int> wrong = client.send(thumbnail("cat.png")).get();
#elif CASE == 14  // a bool is not a number
  static_cast<void>(thumbnail("cat.png", true));
#endif
}
