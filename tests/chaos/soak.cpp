#include "chaos/soak.hpp"

#include "chaos/nemesis.hpp"
#include "chaos/stage.hpp"
#include "wire/redis/connection.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <optional>

namespace errand::chaos {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTickMs = 20;
constexpr Milliseconds kLookEvery{250};
constexpr Milliseconds kSampleEvery{500};
constexpr int kQuietLooks = 4;  // looks in a row that found nothing left
constexpr std::chrono::seconds kStopPatience{60};
constexpr std::size_t kMostBreaks = 50;
constexpr std::chrono::seconds kStartPatience{15};

struct Slot {
  std::string kind;  ///< "native0": the name of its instances up to the dash
  bool python = false;
  int generation = 0;
  Process process;
  std::string name;
  bool stopped = false, to_kill = false;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

class Soak {
 public:
  explicit Soak(const SoakOptions& options)
      : options_(options),
        stage_(options),
        nemesis_(options.seed, options.faults, options.workers + options.python, options.lease_ms) {}

  Object run() {
    const auto begin = Clock::now();
    begin_ = begin;
    start_everybody();
    chaos();
    const double chaos_seconds = since(begin);
    heal_all();
    drain();
    const double seconds = since(begin);
    stop_everybody();
    Object report = verdict();
    report.set("seconds", seconds);
    report.set("seconds_of_chaos", chaos_seconds);
    report.set("tasks_per_second", static_cast<double>(options_.tasks) / seconds);
    return report;
  }

 private:
  double since(Clock::time_point point) const { return std::chrono::duration<double>(Clock::now() - point).count(); }

  void broken(const std::string& what) {
    if (breaks_.size() < kMostBreaks) breaks_.push_back(what);
  }

  void start_everybody() {
    std::uint32_t left = options_.tasks;
    for (std::uint32_t i = 0; i < options_.producers; ++i) {
      const std::uint32_t count = i + 1 == options_.producers ? left : options_.tasks / options_.producers;
      counts_.push_back(count);
      left -= count;
      producers_.push_back(stage_.start_producer(i, count));
    }
    for (std::uint32_t i = 0; i < options_.workers + options_.python; ++i) {
      const bool python = i >= options_.workers;
      const std::string kind = (python ? "python" : "native") + std::to_string(python ? i - options_.workers : i);
      slots_.push_back(Slot{kind, python, 0, stage_.start_worker(kind + "-0", python), kind + "-0"});
    }
  }

  void restart(Slot& slot) {
    slot.generation += 1;
    slot.name = slot.kind + "-" + std::to_string(slot.generation);
    slot.process = stage_.start_worker(slot.name, slot.python);
    slot.started = Clock::now();
  }

  // One that starts while the server is away says so and ends; whoever runs it starts it again.
  bool may_have_found_no_server(const Slot& slot) const {
    return server_at_ && slot.started + kStartPatience > Clock::now() && *server_at_ + kStartPatience > slot.started;
  }

  // Until every producer is done and nothing waits in the queue, or the time is over.
  void chaos() {
    auto next_fault = Clock::now() + Milliseconds{options_.every_ms};
    auto look_at = Clock::now();
    while (true) {
      const auto now = Clock::now();
      tend();
      const bool over =
          options_.heal_after_ms > 0 && since(begin_) * 1000 > static_cast<double>(options_.heal_after_ms);
      if (!over && !nemesis_.idle() && next_fault <= now) {
        inject(nemesis_.next());
        next_fault += Milliseconds{options_.every_ms};
        if (next_fault < now) next_fault = now;
      }
      if (look_at <= now && producers_done()) {
        const bool empty = options_.heal_after_ms == 0 && waiting() == std::size_t{0};
        if (over || empty) return;
        // Counting a million messages takes a while: not more than a tenth of the time.
        look_at = Clock::now() + std::max<Clock::duration>(kLookEvery, (Clock::now() - now) * 10);
      }
      poll(nullptr, 0, kTickMs);  // polls for what is due
    }
  }

  // What is due: ends of faults, samples, processes that ended although nobody ended them.
  void tend() {
    const auto now = Clock::now();
    strike();
    for (auto one = heals_.begin(); one != heals_.end();) {
      if (one->first > now) break;
      one->second();
      one = heals_.erase(one);
    }
    for (Slot& slot : slots_) {
      const auto status = slot.process.wait(Deadline::now());
      if (!status || (may_have_found_no_server(slot) && !stage_.has_server())) continue;
      if (!may_have_found_no_server(slot)) {
        broken("I23 " + slot.name + " ended by itself: " +
               (WIFSIGNALED(*status) ? "signal " + std::to_string(WTERMSIG(*status))
                                     : "status " + std::to_string(WEXITSTATUS(*status))));
      }
      losses_.emplace(slot.name, Loss{.from_us = wall_us(), .fault = "ended"});
      restart(slot);
    }
    if (sample_at_ <= now) {
      sample_at_ = now + kSampleEvery;
      sample();
    }
  }

  void sample() {
    for (const Slot& slot : slots_) {
      if (slot.python) continue;
      peak_kib_ = std::max(peak_kib_, slot.process.resident_kib());
      peak_files_ = std::max(peak_files_, slot.process.open_files());
    }
    if (slots_.empty() || slots_.front().python) return;
    memory_.emplace_back(since(begin_), slots_.front().process.resident_kib());
  }

  // A Python worker only in a moment in which kombu loses nothing (see Stage::python_rests); till then it is tried
  // again.
  void strike() {
    for (Slot& slot : slots_) {
      if (!slot.to_kill) continue;
      if (slot.python) {
        slot.process.stop();
        bool rests = false;
        try {
          rests = stage_.python_rests();
        } catch (const Error&) {
          // the server is away just now
        }
        if (!rests) {
          slot.process.signal(SIGCONT);
          continue;
        }
      }
      slot.to_kill = false;
      losses_.emplace(slot.name, Loss{.from_us = wall_us(), .fault = "kill"});
      slot.process.signal(SIGKILL);
      slot.process.wait(Deadline::never());
      restart(slot);
    }
  }

  void heal_later(long after_ms, std::function<void()> heal) {
    heals_.emplace(Clock::now() + Milliseconds{after_ms}, std::move(heal));
  }

  void inject(const Fault& fault) {
    Slot& slot = slots_[fault.victim];
    if (fault.kind == "kill") {
      if (!slot.stopped) slot.to_kill = true;
      strike();
    } else if (fault.kind == "stop") {
      if (slot.stopped || slot.python) return;
      // The supervisor alone: its tasks go on, and what they come to is nobody's any more.
      slot.stopped = true;
      const std::string name = slot.name;
      const std::int64_t from = wall_us();
      slot.process.signal(SIGSTOP);
      heal_later(fault.lasts_ms, [this, &slot, name, from] {
        slot.process.signal(SIGCONT);
        slot.stopped = false;
        losses_.emplace(name, Loss{.from_us = from, .until_us = wall_us() + options_.lease_ms * 1000, .fault = "stop"});
      });
    } else if (fault.kind == "server") {
      if (!stage_.has_server()) return;
      const std::int64_t from = wall_us();
      stage_.stop_server(SIGKILL);
      server_at_ = Clock::now();
      heal_later(fault.lasts_ms, [this, from] {
        stage_.start_server();
        server_at_ = Clock::now();
        losses_.emplace("*",
                        Loss{.from_us = from, .until_us = wall_us() + options_.lease_ms * 1000, .fault = "server"});
      });
    } else if (fault.kind == "clients") {
      if (!stage_.has_server()) return;
      const std::int64_t from = wall_us();
      stage_.kill_clients();
      losses_.emplace("*", Loss{.from_us = from, .until_us = wall_us() + options_.lease_ms * 1000, .fault = "clients"});
    } else if (fault.kind == "disk") {
      if (full_) return;
      full_ = true;
      const std::int64_t from = wall_us();
      stage_.fill_disk();
      heal_later(fault.lasts_ms, [this, from] {
        stage_.free_disk();
        full_ = false;
        losses_.emplace("*", Loss{.from_us = from, .until_us = wall_us() + options_.lease_ms * 1000, .fault = "disk"});
      });
    }
    injected_[fault.kind] += 1;
  }

  void heal_all() {
    while (!heals_.empty()) {
      heals_.begin()->second();
      heals_.erase(heals_.begin());
    }
  }

  bool producers_done() {
    for (Process& one : producers_) {
      const auto status = one.wait(Deadline::now());
      if (!status) return false;
      if (*status != 0 && !producer_failed_) {
        producer_failed_ = true;
        broken("a producer ended with status " + std::to_string(*status) + "; see producer.log");
      }
    }
    return true;
  }

  // Messages that wait; nullopt: the store does not answer now.
  std::optional<std::size_t> waiting() {
    try {
      if (!broker_) broker_ = open_broker(stage_.broker_url(), stage_.transport());
      const QueueInfo info = broker_->inspect(kQueueName);
      return info.ready + info.parked;
    } catch (const Error&) {
      broker_.reset();
      return std::nullopt;
    }
  }

  // Messages anywhere: waiting, leased, or in the hands of a Python worker.
  std::optional<std::size_t> left() {
    const auto waits = waiting();
    if (!waits) return std::nullopt;
    try {
      std::size_t held = broker_->inspect(kQueueName).leased;
      if (stage_.has_server()) {
        redis::Connection connection(redis::parse_url(stage_.broker_url()));
        held += static_cast<std::size_t>(connection.call({"HLEN", "unacked"}).integer);
      }
      return *waits + held;
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  void drain() {
    const auto begin = Clock::now();
    int quiet = 0;
    while (quiet < kQuietLooks) {
      tend();
      const auto now = left();
      quiet = now == std::size_t{0} ? quiet + 1 : 0;
      if (since(begin) * 1000 > static_cast<double>(options_.drain_ms)) {
        broken("I15 not drained within " + std::to_string(options_.drain_ms) +
               " ms: " + (now ? std::to_string(*now) + " messages left" : std::string("the store does not answer")));
        break;
      }
      poll(nullptr, 0, 100);  // polls until nothing is left
    }
    recovery_seconds_ = since(begin);
  }

  void stop_everybody() {
    for (Slot& slot : slots_) slot.process.signal(SIGTERM);
    for (Slot& slot : slots_) {
      const auto status = slot.process.wait(Deadline::after(kStopPatience));
      if (!status)
        broken("I20 " + slot.name + " did not stop");
      else if (!slot.python && *status != 0)
        broken("I20 " + slot.name + " stopped with status " + std::to_string(*status));
    }
  }

  // Growth in percent from the warm-up (a tenth of the time) to the highest of the last tenth.
  std::optional<double> growth() const {
    if (memory_.size() < 20) return std::nullopt;
    const std::size_t tenth = memory_.size() / 10;
    std::int64_t warm = 0, end = 0;
    for (std::size_t i = tenth; i < 2 * tenth; ++i) warm = std::max(warm, memory_[i].second);
    for (std::size_t i = memory_.size() - tenth; i < memory_.size(); ++i) end = std::max(end, memory_[i].second);
    return warm == 0 ? std::nullopt
                     : std::optional(100.0 * static_cast<double>(end - warm) / static_cast<double>(warm));
  }

  static Value percentiles(std::vector<std::int64_t> times) {
    std::sort(times.begin(), times.end());
    const auto at = [&](std::size_t percent) { return times[(times.size() - 1) * percent / 100] / 1000; };
    return Value(
        Object{{"count", static_cast<std::int64_t>(times.size())}, {"p50", at(50)}, {"p99", at(99)}, {"max", at(100)}});
  }

  static Value list(const std::vector<std::string>& texts) {
    Array out;
    for (const std::string& text : texts) out.emplace_back(text);
    return Value(std::move(out));
  }

  Object verdict() {
    BulkQuestion question;
    question.run = stage_.run();
    question.counts = counts_;
    question.sent = stage_.file("sent");
    question.effects = stage_.file("effects");
    question.results_url = stage_.broker_url();
    question.transport = stage_.transport();
    question.stored = options_.results;
    const BulkVerdict seen = judge_bulk(question, losses_);
    for (const std::string& one : seen.lost) broken("I1 lost: " + one);
    for (const std::string& one : seen.unexpected) broken("I3 unexpected: " + one);
    for (const std::string& one : seen.stolen) broken("I12 stolen: " + one);
    const auto grown = growth();
    if (options_.flat_percent > 0 && grown && *grown > static_cast<double>(options_.flat_percent)) {
      broken("I13 the resident memory of a worker grew by " + std::to_string(*grown) + " %");
    }
    Object faults, by_worker, recovery;
    for (const auto& [fault, times] : seen.recoveries_us) recovery.set(fault, percentiles(times));
    for (const auto& [kind, count] : injected_) faults.set(kind, static_cast<std::int64_t>(count));
    for (const auto& [kind, count] : seen.by_worker) by_worker.set(kind, static_cast<std::int64_t>(count));
    Array memory;
    const std::size_t every = std::max<std::size_t>(1, memory_.size() / 20);
    for (std::size_t i = 0; i < memory_.size(); i += every) memory.push_back(Value(memory_[i].second));
    return Object{{"commit", options_.commit},
                  {"profile", options_.profile},
                  {"seed", static_cast<std::int64_t>(options_.seed)},
                  {"sent", static_cast<std::int64_t>(seen.attempted)},
                  {"acknowledged", static_cast<std::int64_t>(seen.acknowledged)},
                  {"in_doubt", static_cast<std::int64_t>(seen.in_doubt)},
                  {"succeeded", static_cast<std::int64_t>(seen.succeeded)},
                  {"executions", static_cast<std::int64_t>(seen.executions)},
                  {"executions_by_worker", Value(std::move(by_worker))},
                  {"repeated_after_a_loss", static_cast<std::int64_t>(seen.repeated)},
                  {"most_executions_of_one", seen.most_begins},
                  {"faults", Value(std::move(faults))},
                  {"recovery_ms", Value(std::move(recovery))},
                  {"lost", static_cast<std::int64_t>(seen.lost.size())},
                  {"unexpected", static_cast<std::int64_t>(seen.unexpected.size())},
                  {"stolen", static_cast<std::int64_t>(seen.stolen.size())},
                  {"breaks", list(breaks_)},
                  {"seconds_to_drain", recovery_seconds_},
                  {"peak_rss_kib", peak_kib_},
                  {"peak_files", static_cast<std::int64_t>(peak_files_)},
                  {"rss_kib", Value(std::move(memory))},
                  {"rss_growth_percent", grown ? Value(*grown) : Value()}};
  }

  static constexpr std::string_view kQueueName = "chaos";
  const SoakOptions& options_;
  Stage stage_;
  Nemesis nemesis_;
  Clock::time_point begin_{};
  std::vector<std::uint32_t> counts_;
  std::vector<Process> producers_;
  std::vector<Slot> slots_;
  std::multimap<Clock::time_point, std::function<void()>> heals_;
  Losses losses_;
  std::map<std::string, std::uint64_t> injected_;
  std::vector<std::string> breaks_;
  std::vector<std::pair<double, std::int64_t>> memory_;
  Clock::time_point sample_at_{};
  std::unique_ptr<Broker> broker_;
  std::int64_t peak_kib_ = 0;
  std::size_t peak_files_ = 0;
  std::optional<Clock::time_point> server_at_;  // when it last went or came
  double recovery_seconds_ = 0;
  bool full_ = false;
  bool producer_failed_ = false;
};

}  // namespace

Object run_soak(const SoakOptions& options) { return Soak(options).run(); }

}  // namespace errand::chaos
