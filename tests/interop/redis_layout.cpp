// The native side of test_redis_layout.py: one command of the broker, its outcome as JSON on standard output.
//
//   redis_layout publish URL EXCHANGE KEY PRIORITY ID
//   redis_layout declare URL QUEUE EXCHANGE TYPE KEY
//   redis_layout take URL QUEUE ack|requeue|dead|die [VISIBILITY_MS]
#include <errand/drivers.hpp>
#include <errand/error.hpp>

#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace errand;

namespace {

int run(const std::vector<std::string>& words) {
  TransportOptions options;
  if (words.size() > 5 && words[1] == "take") options.visibility_timeout = Milliseconds{std::atol(words[5].c_str())};
  const auto broker = open_broker(words.at(2), options);
  if (words.at(1) == "declare") {
    broker->declare({{QueueSpec{words.at(3), words.at(4), words.at(5), words.at(6)}}});
    return 0;
  }
  if (words.at(1) == "publish") {
    Envelope envelope;
    envelope.route = {words.at(3), words.at(4)};
    envelope.priority = std::atoi(words.at(5).c_str());
    envelope.message.headers = Object{{"id", words.at(6)}, {"task", "noop"}};
    envelope.message.body = "[[\"\\u00fc\"], {}, {}]";
    broker->publish({&envelope, 1});
    return 0;
  }
  const auto consumer = broker->consume({.queues = {words.at(3)}, .owner = "layout-" + std::to_string(getpid())});
  const auto got = consumer->next(1, Deadline::after(std::chrono::seconds(15)));
  if (got.empty()) return 1;
  const Delivery& delivery = got[0];
  const Value* id = delivery.message.headers.find("id");
  const Value told = Value::object({{"id", id != nullptr ? *id : Value()},
                                    {"tag", delivery.receipt.id},
                                    {"body", delivery.message.body},
                                    {"routing_key", delivery.route.routing_key},
                                    {"redelivered", delivery.redelivered},
                                    {"deliveries", static_cast<std::int64_t>(delivery.deliveries)},
                                    {"defect", delivery.defect}});
  std::puts(to_json(told).c_str());
  std::fflush(stdout);
  const std::string& how = words.at(4);
  if (how == "die") kill(getpid(), SIGKILL);
  Settlement settlement{.receipt = delivery.receipt};
  if (how == "requeue") settlement.kind = Settlement::Kind::requeue;
  if (how == "dead") {
    settlement.kind = Settlement::Kind::dead_letter;
    settlement.reason = "TEST";
  }
  consumer->settle({&settlement, 1});
  return consumer->stale() == 0 ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(std::vector<std::string>(argv, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
