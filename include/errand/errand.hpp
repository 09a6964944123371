#pragma once
// Everything a program that sends or runs tasks needs.

#include <errand/client.hpp>
#include <errand/context.hpp>
#include <errand/error.hpp>
#include <errand/failure_hook.hpp>
#include <errand/main.hpp>
#include <errand/registry.hpp>
#include <errand/retry.hpp>
#include <errand/signature.hpp>
#include <errand/task.hpp>
#include <errand/time.hpp>
#include <errand/value.hpp>
#include <errand/worker.hpp>
