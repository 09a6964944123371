#include "conformance/backend_context.hpp"
#include "conformance/broker_context.hpp"
#include "conformance/tables.hpp"

#include <exception>
#include <iterator>

namespace errand::conformance {

namespace {

template <class Row>
std::vector<Row> joined(std::initializer_list<std::span<const Row>> parts) {
  std::vector<Row> rows;
  for (const std::span<const Row>& part : parts) rows.insert(rows.end(), part.begin(), part.end());
  return rows;
}

template <class Row, class Traits, class Run>
std::vector<Outcome> run_rows(std::span<const Row> rows, const Traits& traits, const Options& options, const Run& run) {
  std::vector<Outcome> outcomes;
  for (const Row& row : rows) {
    if (!options.only.empty() && row.name.find(options.only) == std::string_view::npos) continue;
    Outcome outcome{.name = row.name, .promise = row.promise, .text = {}};
    const SteadyPoint began = std::chrono::steady_clock::now();
    try {
      if (row.applies != nullptr && !row.applies(traits)) throw Skipped{"the driver's traits say it does not do this"};
      outcome.text = run(row);
    } catch (const Failed& failed) {
      outcome.verdict = Verdict::failed;
      outcome.text = failed.what;
    } catch (const Skipped& skipped) {
      outcome.verdict = Verdict::skipped;
      outcome.text = skipped.why;
    } catch (const std::exception& error) {
      outcome.verdict = Verdict::failed;
      outcome.text = std::string("threw ") + error.what();
    }
    outcome.took = std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - began);
    if (options.on_outcome) options.on_outcome(outcome);
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

}  // namespace

std::string_view to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::passed:
      return "passed";
    case Verdict::failed:
      return "failed";
    case Verdict::skipped:
      return "skipped";
  }
  return "unknown";
}

std::span<const BrokerCheck> broker_checks() {
  static const std::vector<BrokerCheck> rows =
      joined<BrokerCheck>({fetch_rows(), settle_rows(), lease_rows(), dead_rows(), content_rows(), queue_rows(),
                           commit_rows(), revoke_rows(), fanout_rows()});
  return rows;
}

std::span<const BackendCheck> backend_checks() {
  static const std::vector<BackendCheck> rows = joined<BackendCheck>({result_rows(), group_rows()});
  return rows;
}

std::vector<Outcome> check_broker(const BrokerUnderTest& subject, const Options& options) {
  const std::unique_ptr<Broker> broker = subject.open();
  broker->queues();  // connects, so that a missing server is one error and not a failure of every row
  return run_rows(broker_checks(), broker->traits(), options, [&](const BrokerCheck& row) {
    BrokerContext context(subject, *broker, options.patience);
    row.run(context);
    return context.noted();
  });
}

std::vector<Outcome> check_backend(const BackendUnderTest& subject, const Options& options) {
  const std::unique_ptr<ResultBackend> backend = subject.open();
  backend->get("errand-check");  // connects, for the same reason
  return run_rows(backend_checks(), backend->traits(), options, [&](const BackendCheck& row) {
    BackendContext context(subject, *backend, options.patience);
    row.run(context);
    return context.noted();
  });
}

}  // namespace errand::conformance
