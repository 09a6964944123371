// The `errand` program: the commands of the library, with no tasks of its own. Programs that bring
// tasks call errand::main with a filled registry and get the same commands.
#include <errand/main.hpp>

int main(int argc, char** argv) {
  errand::Registry registry;
  return errand::main(argc, argv, registry);
}
