#include "chaos/roles.hpp"

#include "chaos/bulk.hpp"
#include "chaos/ledger.hpp"
#include "chaos/workload.hpp"
#include "core/log.hpp"

#include <set>
#include <string>

namespace errand::chaos {

namespace {

TransportOptions transport(const Flags& flags) {
  TransportOptions options;
  options.key_prefix = flags.text("prefix");
  options.visibility_timeout = Milliseconds{flags.number("visibility", 3'600'000)};
  return options;
}

}  // namespace

int run_worker(const Flags& flags) {
  Ledger ledger(flags.text("folder") + "/effects", flags.text("name"));
  Registry registry;
  add_tasks(registry, ledger);
  add_bulk_tasks(registry, ledger);
  if (flags.text("quiet") == "1") log::set_level(log::Level::warning);
  WorkerOptions options;
  options.broker_url = flags.text("broker");
  options.result_backend_url = flags.text("results");
  options.transport = transport(flags);
  options.queues = {QueueSpec{.name = flags.text("queue", std::string(kQueue))}};
  options.node_name = flags.text("name") + "@chaos";
  options.pool = flags.text("pool", "prefork");
  options.concurrency = static_cast<std::size_t>(flags.number("concurrency", 2));
  options.lease = Milliseconds{flags.number("lease", 60'000)};
  options.control = false;
  Worker worker(options, registry);
  return worker.run();
}

int run_sender(const Flags& flags) {
  const std::string book = flags.text("folder") + "/sent";
  std::set<std::string> known;
  read_ledger(book, [&](const Line& line) {
    if (line.step == Step::acknowledged) known.emplace(line.id);
  });
  Ledger ledger(book, flags.text("name"));
  Client client(
      {.broker_url = flags.text("broker"), .result_backend_url = flags.text("results"), .transport = transport(flags)});
  int failed = 0;
  for (Signature& call : make_workload(flags.text("run"), static_cast<std::size_t>(flags.number("plain", 12))).calls) {
    const std::string id = call.options.task_id;
    if (known.contains(id)) continue;
    ledger.write(id, 0, Step::attempted);
    try {
      client.send(std::move(call));
      ledger.write(id, 0, Step::acknowledged);
    } catch (const Error& error) {
      ledger.write(id, 0, error.kind() == ErrorKind::in_doubt ? Step::in_doubt : Step::refused);
      failed += 1;
    }
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace errand::chaos
