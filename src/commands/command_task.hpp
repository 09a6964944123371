#pragma once
// Tasks that are programs: [tasks."media.thumbnail"] command = ["./thumb.sh"] in the configuration file becomes a
// definition like any other, whose function runs the program in the pool.

#include "config/sections.hpp"

#include <errand/registry.hpp>

namespace errand::commands {

/// A definition of the section, which has a command.
TaskDefinition command_task(const config::TaskSection& section);

/// Other options for a task of the program, as a section without a command says them.
void change_options(TaskDefinition& definition, const config::TaskSection& section);

/// The object that the program reads: id, task, args, kwargs, retries and what else is known of the attempt.
Value command_input(const TaskContext& task, const Array& args, const Object& kwargs);

}  // namespace errand::commands
