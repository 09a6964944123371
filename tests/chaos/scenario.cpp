#include "chaos/scenario.hpp"

#include "chaos/process.hpp"
#include "core/uuid.hpp"
#include "support/folder.hpp"

#include <errand/drivers.hpp>

#include <poll.h>
#include <sys/wait.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

namespace errand::chaos {

namespace {

constexpr int kLeaseMs = 1'000;
constexpr std::chrono::seconds kPatience{60};
constexpr std::size_t kAtATime = 5;
constexpr std::size_t kLogTail = 1'500;

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool wait_for(const std::function<bool()>& condition) {
  const Deadline deadline = Deadline::after(kPatience);
  while (!condition()) {
    if (deadline.passed()) return false;
    poll(nullptr, 0, 10);  // polls for the condition until the deadline
  }
  return true;
}

class Stage {
 public:
  Stage(const Scenario& scenario, int redis_port) : scenario_(scenario) {
    run_ = "r" + core::uuid4().substr(0, 8);
    transport_.key_prefix = scenario.broker == "redis" ? run_ : "";
    if (scenario.broker == "sqlite") {
      broker_url_ = "sqlite:///" + folder_.file("broker.db");
      results_url_ = scenario.two_stores ? "sqlite:///" + folder_.file("results.db") : broker_url_;
    } else {
      broker_url_ = "redis://127.0.0.1:" + std::to_string(redis_port) + "/0";
      results_url_ = scenario.two_stores ? broker_url_.substr(0, broker_url_.size() - 1) + "1" : broker_url_;
    }
    workload_ = make_workload(run_);
  }

  Outcome play() {
    broker_ = open_broker(broker_url_, transport_);
    results_ = open_result_backend(results_url_, transport_);
    send();
    work();
    if (out_.breaks.empty()) drain();
    stop(armed_, "armed");
    if (out_.breaks.empty()) drain();  // what one that was paused left when it went on
    stop(healthy_, "healthy");
    out_.verdict = judge(workload_, file("sent"), file("effects"), *broker_, *results_, Excuses{});
    for (const std::string& one : out_.verdict.breaks) out_.breaks.push_back(one);
    read_ledger(file("effects"), [&](const Line& line) {
      if (line.step == Step::begin) out_.begins[std::string(line.id).substr(run_.size() + 1)][line.attempt] += 1;
    });
    out_.armed_log = read_file(file("armed.log"));
    if (!out_.breaks.empty()) tell_logs();
    return std::move(out_);
  }

 private:
  std::string file(const std::string& name) const { return folder_.file(name); }
  std::string armed() const { return scenario_.point + ":" + scenario_.action; }
  bool fired() const { return read_file(file("fired")).find(scenario_.point + " ") != std::string::npos; }

  Process start(const std::string& role, const std::string& name, const std::string& failpoint) {
    Process::Options options;
    options.words = {ERRAND_CHAOS_PROGRAM,
                     role,
                     "--broker",
                     broker_url_,
                     "--results",
                     results_url_,
                     "--prefix",
                     transport_.key_prefix,
                     "--folder",
                     folder_.path,
                     "--name",
                     name,
                     "--run",
                     run_,
                     "--lease",
                     std::to_string(kLeaseMs)};
    options.environment = {{"ERRAND_FAILPOINT", failpoint}, {"ERRAND_FAILPOINT_LOG", file("fired")}};
    options.output = file(name + ".log");
    options.hold_sigterm = role == "worker";
    logs_.push_back(name);
    return Process(options);
  }

  void send() {
    if (scenario_.where == Where::sender) {
      Process first = start("sender", "sender-armed", armed());
      if (!first.wait(Deadline::after(kPatience))) out_.breaks.push_back("the armed sender did not end");
      if (!fired()) out_.breaks.push_back("the sender never passed the point");
    }
    // A sender that was killed may have left bytes that the server has not read yet: the second look is later.
    if (scenario_.where == Where::sender && scenario_.point == "pub.after_send") {
      wait_for([&] { return waiting() > 0; });
    }
    out_.queued_after_armed = waiting();
    // Sends what is not known to be there; the ids are the same.
    Process rest = start("sender", "sender", "");
    const auto status = rest.wait(Deadline::after(kPatience));
    if (!status || *status != 0) out_.breaks.push_back("the second sender could not send");
  }

  std::size_t waiting() {
    const QueueInfo info = broker_->inspect(kQueue);
    return info.ready + info.parked;
  }

  void work() {
    if (scenario_.where == Where::sender) {
      healthy_.emplace(start("worker", "healthy", ""));
      return;
    }
    if (scenario_.where == Where::rescuer) {
      Process holder = start("worker", "holder", "claim.after:kill");
      if (!holder.wait(Deadline::after(kPatience))) out_.breaks.push_back("the worker that was to die holding did not");
    }
    armed_.emplace(start("worker", "armed", armed()));
    if (scenario_.where == Where::stopping) {
      if (!wait_for([&] { return !read_file(file("effects")).empty(); })) out_.breaks.push_back("nothing began");
      armed_->signal(SIGTERM);
    }
    if (!wait_for([&] { return fired_by_armed(); })) out_.breaks.push_back("the worker never passed the point");
    // What was stored when it died must not run again.
    if (scenario_.action == "kill" && armed_->wait(Deadline::after(std::chrono::milliseconds(200)))) {
      out_.armed_died = true;
      for (const auto& [id, expected] : workload_.expected) {
        const auto stored = results_->get(id);
        if (stored && stored->state == state::success) out_.succeeded_at_death.push_back(id.substr(run_.size() + 1));
      }
    }
    healthy_.emplace(start("worker", "healthy", ""));
  }

  // The holder's own death is in the same file.
  bool fired_by_armed() const {
    const std::string text = read_file(file("fired"));
    return text.find(scenario_.point + " " + scenario_.action) != std::string::npos &&
           (scenario_.where != Where::rescuer || std::count(text.begin(), text.end(), '\n') > 1);
  }

  void drain() {
    std::vector<std::string> left;
    const bool done = wait_for([&] {
      left = unfinished(workload_, *broker_, *results_);
      return left.empty();
    });
    if (done) return;
    std::string ids;
    for (const std::string& id : left) ids += " " + id;
    out_.breaks.push_back("I15 unfinished after " + std::to_string(kPatience.count()) + " s:" + ids);
  }

  void stop(std::optional<Process>& worker, const std::string& name) {
    if (!worker) return;
    if (&worker == &armed_ && !worker->running()) out_.armed_died = true;
    worker->signal(SIGTERM);
    const auto status = worker->wait(Deadline::after(kPatience));
    if (!status) {
      out_.breaks.push_back("I20 the " + name + " worker did not stop");
    } else if (&worker == &healthy_ && *status != 0) {
      out_.breaks.push_back("I20 the healthy worker's status is " + std::to_string(*status));
    }
  }

  void tell_logs() {
    for (const std::string& name : logs_) {
      const std::string text = read_file(file(name + ".log"));
      out_.log += "--- " + name + "\n" + text.substr(text.size() - std::min(text.size(), kLogTail)) + "\n";
    }
  }

  const Scenario& scenario_;
  testing::Folder folder_;
  std::string run_, broker_url_, results_url_;
  TransportOptions transport_;
  Workload workload_;
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<ResultBackend> results_;
  std::optional<Process> armed_, healthy_;
  std::vector<std::string> logs_;
  Outcome out_;
};

}  // namespace

Outcome run_scenario(const Scenario& scenario, int redis_port) {
  try {
    return Stage(scenario, redis_port).play();
  } catch (const std::exception& error) {
    Outcome out;
    out.breaks.push_back(std::string("the scenario itself failed: ") + error.what());
    return out;
  }
}

std::vector<Outcome> run_scenarios(const std::vector<Scenario>& scenarios, int redis_port) {
  std::vector<Outcome> out(scenarios.size());
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  const char* jobs = std::getenv("ERRAND_CHAOS_JOBS");
  const std::size_t count = jobs != nullptr ? static_cast<std::size_t>(std::atoi(jobs)) : kAtATime;
  for (std::size_t i = 0; i < std::min(count, scenarios.size()); ++i) {
    threads.emplace_back([&] {
      for (std::size_t at = next++; at < scenarios.size(); at = next++)
        out[at] = run_scenario(scenarios[at], redis_port);
    });
  }
  for (std::thread& one : threads) one.join();
  return out;
}

}  // namespace errand::chaos
