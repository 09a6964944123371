#include "cli/control.hpp"

#include "cli/context.hpp"
#include "core/uuid.hpp"

#include <errand/error.hpp>

#include <algorithm>

namespace errand::cli {

namespace {
constexpr std::size_t kMostAnswers = 10'000;
constexpr std::size_t kAtOnce = 100;
}  // namespace

std::vector<WorkerAnswer> ask_workers(Broker& broker, const std::string& method, Object arguments, Deadline deadline) {
  std::vector<WorkerAnswer> answers;
  if (!broker.traits().fanout) return answers;
  // A queue of our own through the default exchange: nothing is bound, so nothing of it stays behind.
  const std::string ticket = core::uuid4();
  const std::string queue = ticket + ".reply.celery.pidbox";
  const std::unique_ptr<Consumer> consumer = broker.consume({.queues = {queue}, .owner = "errand/" + ticket});
  Envelope command;
  command.route = {"celery.pidbox", ""};
  command.message.body =
      to_json(Value::object({{"method", method},
                             {"arguments", Value(std::move(arguments))},
                             {"destination", nullptr},
                             {"pattern", nullptr},
                             {"matcher", nullptr},
                             {"ticket", ticket},
                             {"reply_to", Value::object({{"exchange", ""}, {"routing_key", queue}})}}));
  broker.broadcast(command);
  while (!deadline.passed() && answers.size() < kMostAnswers) {
    std::vector<Settlement> done;
    for (const Delivery& delivery : consumer->next(kAtOnce, deadline)) {
      done.push_back(
          {.receipt = delivery.receipt, .kind = Settlement::Kind::ack, .not_before = {}, .reason = "", .detail = ""});
      try {
        const Value body = parse_json(delivery.message.body, JsonLimits{.nodes = kMaxCatalogueNodes});
        if (const Object* members = body.if_object()) {
          for (const auto& [worker, answer] : *members) answers.push_back({worker, answer});
        }
      } catch (const Error&) {
        // Whoever answers in no known form is not a worker of ours to show.
      }
    }
    consumer->settle(done);
  }
  broker.purge(queue);
  std::sort(answers.begin(), answers.end(),
            [](const WorkerAnswer& a, const WorkerAnswer& b) { return a.worker < b.worker; });
  return answers;
}

}  // namespace errand::cli
