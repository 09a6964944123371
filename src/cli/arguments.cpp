#include "cli/arguments.hpp"

#include "config/convert.hpp"
#include "core/text.hpp"

#include <algorithm>

namespace errand::cli {

using config::quoted;

std::vector<std::string_view> split_names(std::string_view names) {
  std::vector<std::string_view> out;
  while (!names.empty()) {
    const auto comma = names.find(", ");
    out.push_back(names.substr(0, comma));
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 2);
  }
  return out;
}

class Parser {
 public:
  explicit Parser(std::span<const std::string> words) : words_(words) { options_ = common_and_broker(); }

  Arguments parse() {
    for (; at_ < words_.size(); ++at_) {
      const std::string& word = words_[at_];
      if (only_positionals_ || word == "-" || word.empty() || word[0] != '-' || looks_like_a_number(word)) {
        take_word(word);
      } else if (word == "--") {
        only_positionals_ = true;
      } else if (word.rfind("--", 0) == 0) {
        take_long(word);
      } else {
        take_short(word);
      }
    }
    if (!out_.help && !out_.version) check_complete();
    return std::move(out_);
  }

 private:
  static std::vector<Option> common_and_broker() {
    std::vector<Option> all = common_options();
    all.insert(all.end(), broker_options().begin(), broker_options().end());
    return all;
  }

  bool looks_like_a_number(const std::string& word) const {
    return word.size() > 1 && word[1] >= '0' && word[1] <= '9' && find(word.substr(0, 2)) == nullptr;
  }

  const Option* find(std::string_view name) const {
    for (const Option& option : options_) {
      const auto names = split_names(shown(option).names);
      if (std::find(names.begin(), names.end(), name) != names.end()) return &option;
    }
    return nullptr;
  }

  void take_word(const std::string& word) {
    if (out_.command == nullptr) {
      take_command(word);
      return;
    }
    const auto& places = out_.command->positionals;
    if (filled_ < places.size()) {
      out_.positionals_[std::string(places[filled_].name)].push_back(word);
      if (!places[filled_].repeated) ++filled_;
      return;
    }
    throw UsageError("unexpected " + quoted(word) +
                         (places.empty() ? "; this command takes only options" : "; quote a value that has blanks"),
                     out_.command);
  }

  void take_command(const std::string& word) {
    const Command* command = nullptr;
    // "dead list" is two words; "help X" and "X --help" are the same.
    if (at_ + 1 < words_.size()) command = find_command(word + " " + words_[at_ + 1]);
    if (command != nullptr) {
      ++at_;
    } else if (word == "help") {
      out_.help = true;
      return;
    } else {
      command = find_command(word);
    }
    if (command == nullptr) unknown_command(word);
    out_.command = command;
    options_ = options_of(*command);
    for (const std::string& given : before_) {
      if (find(given) == nullptr)
        throw UsageError("the option " + given + " is not one of errand " + std::string(command->name), command);
    }
  }

  [[noreturn]] void unknown_command(const std::string& word) const {
    std::vector<std::string_view> names, second;
    for (const Command* command : commands()) {
      names.push_back(command->name);
      if (command->name.rfind(word + " ", 0) == 0) second.push_back(command->name.substr(word.size() + 1));
    }
    if (!second.empty()) {
      std::string list;
      for (const std::string_view one : second) list += (list.empty() ? "" : ", ") + std::string(one);
      if (at_ + 1 < words_.size() && !words_[at_ + 1].starts_with('-')) {
        throw UsageError("unknown command " + quoted(word + " " + words_[at_ + 1]) + "; expected errand " + word +
                         " with one of " + list);
      }
      throw UsageError("errand " + word + " is followed by one of " + list);
    }
    const auto near = core::nearest_word(word, names);
    throw UsageError("unknown command " + quoted(word) +
                     (near.empty() ? "" : "; did you mean " + std::string(near) + "?"));
  }

  [[noreturn]] void unknown_option(std::string_view name) const {
    std::vector<std::string_view> names;
    for (const Option& option : options_) {
      for (const std::string_view one : split_names(shown(option).names)) names.push_back(one);
    }
    const auto near = name.size() > 3 ? core::nearest_word(name, names) : std::string_view{};
    throw UsageError(
        "unknown option " + quoted(name) + (near.empty() ? "" : "; did you mean " + std::string(near) + "?"),
        out_.command);
  }

  void take_long(const std::string& word) {
    const auto equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const Option* option = find(name);
    if (option == nullptr) unknown_option(name);
    const bool takes_value = !shown(*option).metavar.empty();
    if (equals == std::string::npos) {
      give(*option, name, takes_value ? next_word(*option, name) : "true");
    } else if (takes_value) {
      give(*option, name, word.substr(equals + 1));
    } else {
      throw UsageError("the option " + name + " takes no value, got " + quoted(word.substr(equals + 1)), out_.command);
    }
  }

  // -c4, -c 4, and switches in one word: -Ev.
  void take_short(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const std::string name = std::string("-") + word[i];
      const Option* option = find(name);
      if (option == nullptr) unknown_option(i == 1 ? std::string_view(word) : std::string_view(name));
      if (shown(*option).metavar.empty()) {
        give(*option, name, "true");
        continue;
      }
      give(*option, name, i + 1 < word.size() ? word.substr(i + 1) : next_word(*option, name));
      return;
    }
  }

  std::string next_word(const Option& option, const std::string& name) {
    if (at_ + 1 >= words_.size())
      throw UsageError("the option " + name + " expects " + std::string(shown(option).metavar) + ", got nothing",
                       out_.command);
    return words_[++at_];
  }

  void give(const Option& option, const std::string& name, std::string text) {
    if (out_.command == nullptr) before_.push_back(name);
    const auto names = split_names(shown(option).names);
    if (names.back() == "--help") out_.help = true;
    if (names.back() == "--version") out_.version = true;
    if (!option.setting.empty()) {
      // Said twice, the last one counts, as in every shell.
      std::erase_if(out_.settings, [&](const config::FlagValue& one) { return one.setting == option.setting; });
      out_.settings.push_back({std::string(option.setting), name, text});
    }
    auto& values = out_.options_[std::string(names.back())];
    if (!option.repeated) values.clear();
    values.push_back(std::move(text));
  }

  void check_complete() const {
    if (out_.command == nullptr) throw UsageError("expected a command");
    for (const Positional& place : out_.command->positionals) {
      if (place.required && out_.positionals_.find(place.name) == out_.positionals_.end()) {
        throw UsageError("expected " + std::string(place.name) + " (" + std::string(place.doc) + "), got nothing",
                         out_.command);
      }
    }
  }

  std::span<const std::string> words_;
  std::size_t at_ = 0;
  bool only_positionals_ = false;
  std::size_t filled_ = 0;
  std::vector<Option> options_;
  std::vector<std::string> before_;
  Arguments out_;
};

bool Arguments::has(std::string_view option) const { return options_.find(option) != options_.end(); }

std::optional<std::string> Arguments::value(std::string_view option) const {
  const auto found = options_.find(option);
  return found == options_.end() ? std::nullopt : std::optional(found->second.back());
}

std::vector<std::string> Arguments::values(std::string_view option) const {
  const auto found = options_.find(option);
  return found == options_.end() ? std::vector<std::string>{} : found->second;
}

std::string Arguments::positional(std::string_view name) const {
  const auto found = positionals_.find(name);
  return found == positionals_.end() ? std::string() : found->second.front();
}

std::vector<std::string> Arguments::positionals(std::string_view name) const {
  const auto found = positionals_.find(name);
  return found == positionals_.end() ? std::vector<std::string>{} : found->second;
}

Arguments parse_arguments(std::span<const std::string> words) { return Parser(words).parse(); }

}  // namespace errand::cli
