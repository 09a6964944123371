#include "config/setting.hpp"

#include <algorithm>

namespace errand::config {

namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return out;
}

}  // namespace

std::string environment_name(const Setting& setting) { return "ERRAND_" + upper(setting.name); }

std::vector<std::string> spellings(const Setting& setting) {
  std::vector<std::string> names{std::string(setting.name)};
  const auto add = [&](std::string name) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  };
  for (const std::string_view old : setting.old) add(std::string(old));
  if (setting.celery && setting.name.find('.') == std::string_view::npos) add("CELERY_" + upper(setting.name));
  return names;
}

const Setting* find_setting(std::string_view name) {
  for (const Setting& setting : settings_table()) {
    if (setting.name == name) return &setting;
  }
  for (const Setting& setting : settings_table()) {
    const auto names = spellings(setting);
    if (std::find(names.begin(), names.end(), name) != names.end()) return &setting;
  }
  return nullptr;
}

}  // namespace errand::config
