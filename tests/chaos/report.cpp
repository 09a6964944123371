// The soak's command line: what is asked for, and the report that is printed and kept.
#include "chaos/soak.hpp"
#include "support/redis_server.hpp"

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <type_traits>

namespace errand::chaos {

namespace {
constexpr int kSkipped = 77;
}  // namespace

SoakOptions soak_options(const Flags& flags) {
  SoakOptions out;
  out.profile = flags.text("profile", out.profile);
  if (out.profile != "sqlite" && out.profile != "redis" && out.profile != "redis+celery") {
    throw std::invalid_argument("--profile: expected sqlite, redis or redis+celery, got " + out.profile);
  }
  const auto number = [&](const char* name, auto& value) {
    using T = std::remove_reference_t<decltype(value)>;
    value = static_cast<T>(flags.number(name, static_cast<long>(value)));
  };
  number("tasks", out.tasks);
  number("producers", out.producers);
  number("workers", out.workers);
  out.python = out.profile == "redis+celery" ? 1 : 0;
  number("python", out.python);
  number("concurrency", out.concurrency);
  number("seed", out.seed);
  number("every", out.every_ms);
  number("lease", out.lease_ms);
  number("visibility", out.visibility_ms);
  number("nap", out.nap_ms);
  number("long-ms", out.long_ms);
  number("long-percent", out.long_percent);
  number("eta-ms", out.eta_ms);
  number("pause-ms", out.sender_pause_ms);
  number("heal-after", out.heal_after_ms);
  number("drain", out.drain_ms);
  number("flat-percent", out.flat_percent);
  out.pool = flags.text("pool", out.pool);
  out.results = flags.text("stored", "yes") == "yes";
  out.folder = flags.text("folder");
  out.report = flags.text("report");
  out.ledger = flags.text("ledger");
  out.commit = flags.text("commit");
  std::istringstream kinds(flags.text("faults"));
  for (std::string kind; std::getline(kinds, kind, ',');) {
    if (kind != "kill" && kind != "stop" && kind != "server" && kind != "clients" && kind != "disk") {
      throw std::invalid_argument("--faults: expected kill, stop, server, clients or disk, got " + kind);
    }
    out.faults.push_back(kind);
  }
  return out;
}

int soak_main(const Flags& flags) {
  const SoakOptions options = soak_options(flags);
  if (options.profile != "sqlite" && !testing::run_program({"redis-server", "--version"})) {
    std::cout << "skipped: redis-server is not installed" << std::endl;
    const char* ci = std::getenv("CI");
    return ci != nullptr && std::string(ci) == "true" ? 1 : kSkipped;
  }
  Object report;
  try {
    report = run_soak(options);
  } catch (const std::system_error& denied) {
    // Not everywhere may root mount a file system.
    if (denied.code() != std::errc::operation_not_permitted) throw;
    std::cout << "skipped: " << denied.what() << std::endl;
    return kSkipped;
  }
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  char date[32];
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(date, sizeof date, "%Y-%m-%d", &utc);
  report.set("date", std::string(date));
  const std::string line = to_json(Value(report));
  std::cout << line << std::endl;
  if (!options.report.empty()) std::ofstream(options.report) << line << "\n";
  if (!options.ledger.empty()) std::ofstream(options.ledger, std::ios::app) << line << "\n";
  return report.find("breaks")->as_array().empty() ? 0 : 1;
}

}  // namespace errand::chaos
