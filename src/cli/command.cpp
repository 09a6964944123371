#include "cli/command.hpp"

#include "config/setting.hpp"

namespace errand::cli {

// One file each.
extern const Command worker_command, up_command, send_command, result_command, status_command, queues_command,
    purge_command, dead_list_command, dead_show_command, dead_requeue_command, dead_drop_command, revoke_command,
    tasks_command, check_catalogue_command, check_broker_command, config_command, version_command, completion_command,
    man_command;

std::span<const Command* const> commands() {
  static const Command* const all[] = {
      &up_command,        &worker_command,          &send_command,         &result_command,
      &revoke_command,    &status_command,          &queues_command,       &purge_command,
      &dead_list_command, &dead_show_command,       &dead_requeue_command, &dead_drop_command,
      &tasks_command,     &check_catalogue_command, &check_broker_command, &config_command,
      &version_command,   &completion_command,      &man_command};
  return all;
}

const Command* find_command(std::string_view name) {
  for (const Command* command : commands()) {
    if (command->name == name) return command;
  }
  return nullptr;
}

const std::vector<Option>& common_options() {
  static const std::vector<Option> options{
      {.names = "--config", .metavar = "FILE", .doc = "The configuration. Default: errand.toml if it is there."},
      {.names = "--json", .doc = "Print one JSON document instead of text."},
      {.setting = "log_level"},
      {.setting = "log_json"},
      {.names = "-h, --help", .doc = "Print this."},
      {.names = "-V, --version", .doc = "Print the version."}};
  return options;
}

const std::vector<Option>& broker_options() {
  static const std::vector<Option> options{{.setting = "broker_url"},
                                           {.setting = "result_backend"},
                                           {.setting = "broker_transport_options.global_keyprefix"}};
  return options;
}

std::vector<Option> options_of(const Command& command) {
  std::vector<Option> out = command.options;
  // A program that is asked for its tasks or its version takes -b like any other: scripts give it to all.
  out.insert(out.end(), broker_options().begin(), broker_options().end());
  out.insert(out.end(), common_options().begin(), common_options().end());
  return out;
}

ShownOption shown(const Option& option) {
  if (option.setting.empty()) return {option.names, option.metavar, option.doc};
  const config::Setting* setting = config::find_setting(option.setting);
  return {option.names.empty() ? setting->flag : option.names,
          option.metavar.empty() ? setting->metavar : option.metavar, setting->doc};
}

}  // namespace errand::cli
