// Retry policies: when a failed task runs again.
#include <errand/registry.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

using namespace errand;
using namespace std::chrono_literals;

namespace {
struct NetworkError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct TimeoutError : NetworkError {
  using NetworkError::NetworkError;
};
struct AuthenticationError : NetworkError {
  using NetworkError::NetworkError;
};

template <class E>
Failure failure(E error, std::string type = "x", std::string module = "") {
  return Failure{.type = std::move(type),
                 .message = error.what(),
                 .module = std::move(module),
                 .exception = std::make_exception_ptr(error)};
}
}  // namespace

TEST_CASE("AT-19: waits grow to the cap and never overflow") {
  const auto policy = RetryPolicy::exponential(1s, 10min, 5).without_jitter();
  CHECK(policy.wait(0, 0) == 1s);
  CHECK(policy.wait(1, 0) == 2s);
  CHECK(policy.wait(9, 0) == 512s);
  CHECK(policy.wait(10, 0) == 10min);
  CHECK(policy.wait(63, 0) == 10min);
  CHECK(policy.wait(64, 0) == 10min);
  CHECK(policy.wait(std::numeric_limits<std::uint32_t>::max(), 0) == 10min);
  const auto hugest = RetryPolicy::exponential(Milliseconds::max(), Milliseconds::max()).without_jitter();
  CHECK(hugest.wait(0, 0) == Milliseconds::max());
  CHECK(hugest.wait(40, 0) == Milliseconds::max());
  CHECK(RetryPolicy::exponential(-5s, 10s).without_jitter().wait(3, 0) == 0ms);
  CHECK(RetryPolicy::exponential(10s, 1s).without_jitter().wait(0, 0) == 1s);
}

TEST_CASE("GN-16: a fixed wait stays as it is, however often") {
  const auto policy = RetryPolicy::fixed(300s, 5);
  CHECK(policy.max_retries == 5u);
  for (const std::uint32_t retries : {0u, 1u, 4u, 4'000'000'000u}) CHECK(policy.wait(retries, 0.999) == 300s);
  CHECK(RetryPolicy::fixed(1h).wait(0, 0) == 1h);
}

TEST_CASE("jitter draws between nothing and the whole wait, and takes any draw") {
  const auto policy = RetryPolicy::exponential(1s, 1min);
  CHECK(policy.wait(3, 0.0) == 0ms);
  CHECK(policy.wait(3, 0.5) == 4s);
  CHECK(policy.wait(3, 0.999999) < 8s);
  CHECK(policy.wait(3, 7.0) == 8s);
  CHECK(policy.wait(3, -1.0) == 0ms);
}

TEST_CASE("a policy reads back what it prints") {
  const TimePoint when{std::chrono::sys_days{std::chrono::year{2030} / 1 / 31}};
  struct Row {
    RetryPolicy policy;
    const char* text;
  };
  const Row rows[] = {
      {RetryPolicy::none(), "none"},
      {RetryPolicy::fixed(3min), "fixed(3min) x3"},
      {RetryPolicy::fixed(1500ms, std::nullopt), "fixed(1500ms) forever"},
      {RetryPolicy::exponential(1s, 10min, 5), "exp(1s, 10min) x5 jitter"},
      {RetryPolicy::exponential(1s, 10min, 5).without_jitter(), "exp(1s, 10min) x5"},
      {RetryPolicy::fixed(3min).into("retry-queue"), "fixed(3min) x3 -> retry-queue"},
      {RetryPolicy::exponential(1s, 10min, 5).until_time(when).into("r"),
       "exp(1s, 10min) x5 jitter until 2030-01-31T00:00:00.000000+00:00 -> r"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(row.policy.describe() == row.text);
    const RetryPolicy back = RetryPolicy::parse(row.text);
    CHECK(back.describe() == row.text);
    CHECK(back.max_retries == row.policy.max_retries);
    if (row.policy.max_retries != 0u) {
      CHECK(back.wait(2, 0.5) == row.policy.wait(2, 0.5));
      CHECK(back.until == row.policy.until);
      CHECK(back.queue == row.policy.queue);
    }
  }
}

TEST_CASE("a policy that cannot be read says what it should look like") {
  for (const char* text : {"", "exp", "exp()", "exp(1s", "fixed(1s, 2s)", "fixed(x)", "fixed(1s) xx", "fixed(1s) x-1",
                           "fixed(1s) ->", "fixed(1s) until never", "linear(1s)", "fixed(1s) x3 maybe"}) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(static_cast<void>(RetryPolicy::parse(text)),
                         doctest::Contains("expected 'none', 'fixed(10s) x3'"), Error);
  }
}

// Before 2020 every provider error was retried, wrong passwords as well.
TEST_CASE("AT-19: the first rule that knows the error decides, derived classes included") {
  TaskOptions options;
  options.retry = RetryPolicy::fixed(1s, 1);
  options.retry_on = {never_retry<AuthenticationError>(), retry_on<NetworkError>(RetryPolicy::fixed(2s, 5)),
                      retry_on_type("KeyError", RetryPolicy::fixed(3s, 2)),
                      retry_on_type("requests.exceptions.Timeout", RetryPolicy::fixed(4s, 2))};
  CHECK(retry_policy_for(options, failure(AuthenticationError("401"))).max_retries == 0u);
  CHECK(retry_policy_for(options, failure(NetworkError("500"))).base == 2s);
  CHECK(retry_policy_for(options, failure(TimeoutError("504"))).base == 2s);
  CHECK(retry_policy_for(options, failure(std::runtime_error("x"), "KeyError")).base == 3s);
  CHECK(retry_policy_for(options, failure(std::runtime_error("x"), "Timeout", "requests.exceptions")).base == 4s);
  CHECK(retry_policy_for(options, failure(std::runtime_error("x"), "Timeout", "other")).base == 1s);
  // A process that died has no exception object; only rules by name can match it.
  CHECK(retry_policy_for(options, Failure{.type = "WorkerLostError"}).base == 1s);
  CHECK(options.retry_on[1].describes.find("NetworkError") != std::string::npos);
}

TEST_CASE("GN-17: a policy may send retries to a queue of their own") {
  CHECK(RetryPolicy::fixed(300s, 5).into("service-callbacks-retry").queue == "service-callbacks-retry");
}

TEST_CASE("what tasks throw carries what they ask for") {
  const auto retry = Retry("busy").in(30s).on("slow").at_most(9);
  CHECK(retry.countdown == 30s);
  CHECK(retry.queue == "slow");
  CHECK(retry.max_retries == 9u);
  CHECK(std::string(retry.what()) == "busy");
  CHECK(Reject("no", true).requeue);
}
