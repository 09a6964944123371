#pragma once
// Tasks of the requirement tests (tests/e2e/test_requirements.py): hooks, retries by error class, callbacks over HTTP.

#include <errand/registry.hpp>

void register_requirement_tasks(errand::Registry& registry);
