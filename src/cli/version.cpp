// errand version.
#include "cli/context.hpp"

namespace errand::cli {

namespace {

int version(Context& context) {
  context.out.result(Value::object({{"version", ERRAND_VERSION}}));
  context.out.line("errand " ERRAND_VERSION);
  return 0;
}

}  // namespace

extern const Command version_command;
const Command version_command{.name = "version",
                              .summary = "print the version",
                              .description = "",
                              .positionals = {},
                              .options = {},
                              .examples = {{"errand version --json", ""}},
                              .with_broker = false,
                              .with_config = false,
                              .run = version};

}  // namespace errand::cli
