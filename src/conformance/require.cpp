#include "conformance/require.hpp"

#include "core/text.hpp"

#include <exception>
#include <thread>

namespace errand::conformance {

namespace {
std::string shown(std::string_view text) { return "'" + core::shorten(core::escape_controls(text), 120) + "'"; }
}  // namespace

void require(bool holds, std::string_view what) {
  if (!holds) throw Failed{std::string(what)};
}

void require_equal(std::string_view expected, std::string_view got, std::string_view what) {
  if (expected == got) return;
  throw Failed{std::string(what) + ": expected " + shown(expected) + " (" + std::to_string(expected.size()) +
               " bytes), got " + shown(got) + " (" + std::to_string(got.size()) + " bytes)"};
}

void require_equal(std::size_t expected, std::size_t got, std::string_view what) {
  if (expected == got) return;
  throw Failed{std::string(what) + ": expected " + std::to_string(expected) + ", got " + std::to_string(got)};
}

void require_error(ErrorKind kind, std::string_view what, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.kind() == kind) return;
    throw Failed{std::string(what) + ": expected an error of kind '" + std::string(to_string(kind)) +
                 "', got: " + error.what()};
  }
  throw Failed{std::string(what) + ": expected an error of kind '" + std::string(to_string(kind)) + "', got none"};
}

void at_once(const std::vector<std::function<void()>>& jobs) {
  std::vector<std::exception_ptr> thrown(jobs.size());
  std::vector<std::thread> threads;
  threads.reserve(jobs.size());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        jobs[i]();
      } catch (...) {
        thrown[i] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& one : thrown) {
    if (one) std::rethrow_exception(one);
  }
}

}  // namespace errand::conformance
