// What is written for other programs from the table of commands: bash, man, and the documentation.
#include "cli/help.hpp"

#include "cli/arguments.hpp"
#include "config/setting.hpp"

#include <algorithm>
#include <set>

namespace errand::cli {

namespace {

std::string words_of(const std::vector<Option>& options) {
  std::string out;
  for (const Option& option : options) {
    for (const std::string_view name : split_names(shown(option).names))
      out += (out.empty() ? "" : " ") + std::string(name);
  }
  return out;
}

std::string bars_to_blanks(std::string_view choices) {
  std::string out(choices);
  std::replace(out.begin(), out.end(), '|', ' ');
  return out;
}

std::string bars_between(std::string_view names) {
  std::string out;
  for (const std::string_view name : split_names(names)) out += (out.empty() ? "" : "|") + std::string(name);
  return out;
}

// troff reads lines that begin with a dot or quote as commands, and backslashes and minus signs as its own.
std::string troff(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '`') continue;
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
    line_begins = c == '\n';
  }
  return out;
}

std::string man_options(const std::vector<Option>& options) {
  std::string out;
  for (const Option& option : options) {
    const ShownOption one = shown(option);
    out += ".TP\n.B " + troff(one.names) + "\n";
    if (!one.metavar.empty()) {
      out.pop_back();
      out += " \\fI" + troff(one.metavar) + "\\fR\n";
    }
    out += troff(one.doc) + "\n";
  }
  return out;
}

}  // namespace

std::string bash_completion() {
  std::set<std::string> first;
  std::string two_words, cases, values;
  std::set<std::string> groups;
  for (const Command* command : commands()) {
    const auto blank = command->name.find(' ');
    first.insert(std::string(command->name.substr(0, blank)));
    if (blank != std::string_view::npos) groups.insert(std::string(command->name.substr(0, blank)));
    cases += "    '" + std::string(command->name) + "') options='" + words_of(options_of(*command)) + "' ;;\n";
  }
  for (const std::string& group : groups) {
    std::string second;
    for (const Command* command : commands()) {
      if (command->name.rfind(group + " ", 0) == 0)
        second += (second.empty() ? "" : " ") + std::string(command->name.substr(group.size() + 1));
    }
    two_words += "    " + group + ") actions='" + second + "' ;;\n";
  }
  for (const config::Setting& setting : config::settings_table()) {
    if (setting.flag.empty()) continue;
    if (!setting.choices.empty()) {
      values += "    " + bars_between(setting.flag) + ") mapfile -t COMPREPLY < <(compgen -W '" +
                bars_to_blanks(setting.choices) + "' -- \"$current\"); return ;;\n";
    } else if (setting.type == config::Type::path) {
      values +=
          "    " + bars_between(setting.flag) + ") mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n";
    }
  }
  // Options whose next word is a value, not the command.
  std::set<std::string> with_value;
  for (const Command* command : commands()) {
    for (const Option& option : options_of(*command)) {
      if (shown(option).metavar.empty()) continue;
      for (const std::string_view name : split_names(shown(option).names)) with_value.emplace(name);
    }
  }
  std::string valued;
  for (const std::string& one : with_value) valued += (valued.empty() ? "" : "|") + one;
  std::string list;
  for (const std::string& one : first) list += (list.empty() ? "" : " ") + one;
  return "# bash completion for errand; written by `errand completion bash`.\n"
         "# Load it with: source <(errand completion bash)\n"
         "_errand() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' options='' "
         "actions='' i\n"
         "  COMPREPLY=()\n"
         "  # bash splits --pool=solo and redis://host at = and :\n"
         "  if [ \"$previous\" = = ] && [ \"$COMP_CWORD\" -gt 2 ]; then previous=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
         "  if [ \"$current\" = = ]; then current=''; fi\n"
         "  case \"$previous\" in\n"
         "    --config) mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n" +
         values +
         "  esac\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case \"${COMP_WORDS[i]}\" in\n"
         "      " +
         valued +
         ")\n"
         "        i=$((i + 1))\n"
         "        if [ \"${COMP_WORDS[i]}\" = = ]; then i=$((i + 1)); fi\n"
         "        while [ \"${COMP_WORDS[i + 1]}\" = : ] || [ \"${COMP_WORDS[i + 1]}\" = = ]; do i=$((i + 2)); done "
         ";;\n"
         "      -*) ;;\n"
         "      *) command=${COMP_WORDS[i]}; break ;;\n"
         "    esac\n"
         "  done\n"
         "  case \"$command\" in\n" +
         two_words +
         "  esac\n"
         "  if [ -n \"$actions\" ]; then\n"
         "    if [ \"$i\" -eq \"$((COMP_CWORD - 1))\" ]; then\n"
         "      mapfile -t COMPREPLY < <(compgen -W \"$actions\" -- \"$current\")\n"
         "      return\n"
         "    fi\n"
         "    command=\"$command ${COMP_WORDS[i + 1]}\"\n"
         "  fi\n"
         "  case \"$command\" in\n"
         "    '') options='" +
         list + " " + words_of(common_options()) + "' ;;\n" + cases +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\")\n"
         "  if [ \"${#COMPREPLY[@]}\" -eq 0 ]; then mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); fi\n"
         "}\n"
         "complete -F _errand errand\n";
}

std::string man_page() {
  std::string out =
      ".TH ERRAND 1 \"\" \"errand " ERRAND_VERSION
      "\"\n"
      ".SH NAME\n"
      "errand \\- distributed task queue that speaks Celery's protocol\n"
      ".SH SYNOPSIS\n"
      ".B errand\n"
      "\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n"
      ".SH DESCRIPTION\n"
      "Sends tasks, runs them and looks after their queues. Queues and results are in one SQLite file, or in Redis "
      "where\n"
      "applications that use Celery share them. Without any configuration the file is errand.db in the current "
      "directory.\n"
      ".SH COMMANDS\n";
  for (const Command* command : commands()) {
    out += ".SS " + troff(usage_of(*command)) + "\n" + troff(command->summary) + ".\n";
    if (!command->description.empty()) out += ".PP\n" + troff(command->description) + "\n";
    for (const Positional& one : command->positionals)
      out += ".TP\n.I " + troff(one.name) + "\n" + troff(one.doc) + "\n";
    out += man_options(command->options);
    for (const Example& one : command->examples)
      out += ".PP\n.nf\n" + troff(one.line) + "\n.fi\n" + (one.doc.empty() ? "" : troff(one.doc) + "\n");
  }
  out += ".SH OPTIONS OF EVERY COMMAND\n" + man_options(broker_options()) + man_options(common_options());
  out += ".SH ENVIRONMENT\n";
  for (const config::Setting& setting : config::settings_table()) {
    out += ".TP\n.B " + config::environment_name(setting) + "\n" + troff(setting.doc) + "\n";
  }
  out +=
      ".SH FILES\n.TP\n.I errand.toml\nThe configuration, read if it is in the current directory or named by "
      "\\fB\\-\\-config\\fR.\n"
      ".TP\n.I errand.db\nQueues and results, unless told otherwise.\n"
      ".SH EXIT STATUS\n"
      ".TP\n.B 0\nDone.\n"
      ".TP\n.B 1\nFailed: the broker is away, the task failed, nothing was found.\n"
      ".TP\n.B 2\nUsed wrongly: unknown command or option, a call that does not fit its signature.\n"
      ".TP\n.B 69\nThe worker was stopped before it ever reached its broker.\n"
      ".TP\n.B 78\nWrong configuration; every mistake is named with file and line.\n";
  return out;
}

std::string cli_markdown() {
  std::string out =
      "# Command line\n\n"
      "Written by `errand man --markdown` from the table in `src/cli/`; edit that. Programs with tasks of their own "
      "have the\n"
      "same commands through `errand::main`.\n\n"
      "Exit codes: 0 done, 1 failed, 2 used wrongly, 69 the worker was stopped before it ever reached its broker, 78\n"
      "wrong configuration.\n";
  for (const Command* command : commands()) {
    out += "\n## errand " + std::string(command->name) + "\n\n```\n" + help_of(*command) + "```\n";
  }
  return out;
}

}  // namespace errand::cli
