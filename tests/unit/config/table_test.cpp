#include "config/convert.hpp"
#include "config/document.hpp"
#include "support/source_dir.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

using namespace errand;
using namespace errand::config;

TEST_CASE("every setting has a default that fits, words for people, and spellings of its own") {
  std::set<std::string> names, variables, flags;
  for (const Setting& setting : settings_table()) {
    CAPTURE(setting.name);
    const Value value = fallback(setting);
    if (!value.is_null()) {
      // What is printed can be written into the file again.
      CHECK(convert_text(setting, show(setting, value)).value == value);
    }
    CHECK(setting.doc.size() > 10);
    CHECK_FALSE(setting.group.empty());
    CHECK_FALSE(expectation(setting).empty());
    for (const std::string& name : spellings(setting)) {
      CHECK(names.insert(name).second);
      CHECK(find_setting(name) == &setting);
      CHECK(find_elsewhere(name) == nullptr);
    }
    CHECK(variables.insert(environment_name(setting)).second);
    if (!setting.flag.empty()) CHECK(flags.insert(std::string(setting.flag)).second);
    if (setting.type == Type::choice) CHECK_FALSE(setting.choices.empty());
  }
}

TEST_CASE("Celery's settings that do not exist here are known under old and new names") {
  for (const char* name : {"task_routes", "CELERY_ROUTES", "CELERY_TASK_ROUTES", "CELERY_ANNOTATIONS", "beat_schedule",
                           "CELERY_BEAT_SCHEDULE"}) {
    CAPTURE(name);
    CHECK(find_elsewhere(name) != nullptr);
  }
  CHECK(find_elsewhere("task_routs") == nullptr);
}

TEST_CASE("docs/configuration.md is what the table says") {
  const std::string path = testing::source_dir() + "/docs/configuration.md";
  if (const char* update = std::getenv("ERRAND_UPDATE_GOLDEN"); update != nullptr && *update != '\0')
    std::ofstream(path) << configuration_markdown();
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  CHECK_MESSAGE(text.str() == configuration_markdown(),
                "stale: run `errand config --markdown > docs/configuration.md`");
}
