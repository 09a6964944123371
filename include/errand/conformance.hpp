#pragma once
// The promises that every broker and result backend keeps, as tables that need no test framework.
//
//   for (const errand::conformance::Outcome& outcome : errand::conformance::check_broker({.open = [] {
//          return errand::open_broker("redis://127.0.0.1");
//        }})) std::cout << outcome.name << ' ' << to_string(outcome.verdict) << ' ' << outcome.text << '\n';
//
// The same rows run in Errand's tests and against a user's own server or driver. A driver never edits a row: what it
// cannot do is said by a trait and reported as skipped. Checks work on queues and ids of their own, with random names,
// and take away what they put there.

#include <errand/broker.hpp>
#include <errand/result_backend.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace errand::conformance {

enum class Verdict { passed, failed, skipped };
std::string_view to_string(Verdict verdict) noexcept;

/// What became of one row. `text`: why it failed or was skipped, or a measurement it made on the way.
struct Outcome {
  std::string_view name;     ///< "redelivery.consumer-lost": stable, used in reports
  std::string_view promise;  ///< the sentence that users read
  Verdict verdict = Verdict::passed;
  std::string text;
  Milliseconds took{0};
};

class BrokerContext;   // what a row works with: src/conformance/broker_context.hpp
class BackendContext;  // src/conformance/backend_context.hpp

struct BrokerCheck {
  std::string_view name;
  std::string_view promise;
  bool (*applies)(const BrokerTraits& traits);  ///< nullptr: to every driver
  void (*run)(BrokerContext& context);
};

struct BackendCheck {
  std::string_view name;
  std::string_view promise;
  bool (*applies)(const BackendTraits& traits);  ///< nullptr: to every driver
  void (*run)(BackendContext& context);
};

std::span<const BrokerCheck> broker_checks();
std::span<const BackendCheck> backend_checks();

/// How to reach what is checked. Every call opens one more connection to the same store; called from several threads.
struct BrokerUnderTest {
  std::function<std::unique_ptr<Broker>()> open;
  /// Results that may live in the same store, for the rows about Consumer::commit. Without it they are skipped.
  std::function<std::unique_ptr<ResultBackend>()> open_results = {};
};
struct BackendUnderTest {
  std::function<std::unique_ptr<ResultBackend>()> open;
};

struct Options {
  std::string only = {};                                ///< only rows whose name contains this
  Milliseconds patience{10'000};                        ///< how long a row waits for what must come
  std::function<void(const Outcome&)> on_outcome = {};  ///< told as soon as a row has ended
};

/// Runs the rows one after another. A row that fails does not stop the others.
/// Throws what `open` throws when not even the first connection can be made.
std::vector<Outcome> check_broker(const BrokerUnderTest& subject, const Options& options = {});
std::vector<Outcome> check_backend(const BackendUnderTest& subject, const Options& options = {});

}  // namespace errand::conformance
