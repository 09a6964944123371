#include "chaos/bulk.hpp"

#include "chaos/workload.hpp"

#include <errand/drivers.hpp>

#include <poll.h>
#include <algorithm>
#include <charconv>
#include <exception>
#include <mutex>
#include <random>
#include <thread>
#include <unordered_map>

namespace errand::chaos {

namespace {

constexpr Task<std::int64_t(std::int64_t)> noop{"chaos.noop", {"x"}};
constexpr Task<std::int64_t(std::int64_t, std::int64_t)> nap{"chaos.nap", {"python_ms", "native_ms"}};
constexpr std::size_t kMostNamed = 20;  // offenders listed in a verdict
constexpr std::size_t kReaders = 2;

void name(std::vector<std::string>& list, std::string what) {
  if (list.size() < kMostNamed) list.push_back(std::move(what));
}

}  // namespace

std::string bulk_id(std::string_view run, BulkId id) {
  return std::string(run) + "." + std::to_string(id.producer) + "." + std::to_string(id.number);
}

std::optional<BulkId> read_bulk_id(std::string_view run, std::string_view id) {
  if (!id.starts_with(run) || id.size() <= run.size() || id[run.size()] != '.') return std::nullopt;
  const char* at = id.data() + run.size() + 1;
  const char* const end = id.data() + id.size();
  BulkId out;
  const auto first = std::from_chars(at, end, out.producer);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '.') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, out.number);
  if (second.ec != std::errc{} || second.ptr != end) return std::nullopt;
  return out;
}

int run_bulk_sender(const Flags& flags) {
  const std::string run = flags.text("run");
  const auto producer = static_cast<std::uint32_t>(flags.number("producer"));
  const auto count = static_cast<std::uint32_t>(flags.number("count"));
  const auto batch = static_cast<std::uint32_t>(flags.number("batch", 500));
  const long nap_ms = flags.number("nap", -1), long_ms = flags.number("long-ms"),
             percent = flags.number("long-percent");
  const long eta_ms = flags.number("eta-ms");
  const long pause_ms = flags.number("pause-ms");
  std::mt19937_64 random(static_cast<std::uint64_t>(flags.number("seed", 1)) + producer);
  Ledger ledger(flags.text("folder") + "/sent", flags.text("name"));
  ClientOptions options;
  options.broker_url = flags.text("broker");
  options.result_backend_url = flags.text("results");
  options.transport.key_prefix = flags.text("prefix");
  options.publish_timeout = std::chrono::seconds(20);
  options.transport.publish_timeout = std::chrono::seconds(10);
  Client client(std::move(options));
  for (std::uint32_t from = 0; from < count; from += batch) {
    const std::uint32_t to = std::min(count, from + batch);
    std::vector<std::string> ids;
    std::vector<Signature> calls;
    const TimePoint due{Microseconds{wall_us() + eta_ms * 1000}};
    for (std::uint32_t i = from; i < to; ++i) {
      ids.push_back(bulk_id(run, {producer, i}));
      const bool lasts = percent > 0 && static_cast<long>(random() % 100) < percent;
      const long native = lasts        ? long_ms
                          : nap_ms > 0 ? static_cast<long>(random() % static_cast<std::uint64_t>(nap_ms))
                                       : 0;
      Signature call = nap_ms < 0 ? Signature(noop(i)) : Signature(nap(std::min(native, nap_ms), native));
      if (eta_ms > 0) call = std::move(call).eta(due);
      calls.push_back(std::move(call).with_id(ids.back()).on(std::string(kQueue)));
    }
    ledger.write(ids, Step::attempted);
    for (;;) {
      try {
        client.send_many(calls);
        ledger.write(ids, Step::acknowledged);
        break;
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::in_doubt) {
          ledger.write(ids, Step::in_doubt);
          break;
        }
        // Surely not sent: the same again.
        if (!error.retryable()) throw;
        poll(nullptr, 0, 100);  // polls the broker that is away
      }
    }
    if (pause_ms > 0) poll(nullptr, 0, static_cast<int>(pause_ms));  // the work of a slow sender
  }
  return 0;
}

void add_bulk_tasks(Registry& registry, Ledger& ledger) {
  registry.add(noop, [&ledger](TaskContext& task, std::int64_t x) {
    ledger.write(task.id(), task.retries(), Step::begin);
    return x;
  });
  registry.add(nap, [&ledger](TaskContext& task, std::int64_t, std::int64_t native_ms) {
    ledger.write(task.id(), task.retries(), Step::begin);
    std::this_thread::sleep_for(Milliseconds{native_ms});  // the work itself
    ledger.write(task.id(), task.retries(), Step::done);
    return native_ms;
  });
}

namespace {

// What is known of one task.
struct Life {
  bool attempted = false, acknowledged = false, in_doubt = false;
  std::uint8_t begins = 0;
  std::int64_t begun_us = 0;  // the last time
  std::int64_t ended_us = 0;
  std::uint32_t who = 0;
};

class Count {
 public:
  Count(const BulkQuestion& question, const Losses& losses) : question_(question) {
    for (const std::uint32_t count : question.counts) lives_.emplace_back(count);
    for (const auto& [who, loss] : losses) losses_[number_of(who)].push_back(loss);
  }

  BulkVerdict judge() {
    read_ledger(question_.sent, [&](const Line& line) { sent(line); });
    read_ledger(question_.effects, [&](const Line& line) { ran(line); });
    for (std::uint32_t producer = 0; producer < lives_.size(); ++producer) count(producer);
    if (question_.stored) look_up();
    return std::move(out_);
  }

 private:
  std::uint32_t number_of(std::string_view who) {
    const auto found = numbers_.try_emplace(std::string(who), static_cast<std::uint32_t>(numbers_.size()));
    if (found.second) {
      names_.emplace_back(who);
      losses_.emplace_back();
    }
    return found.first->second;
  }

  Life* life(std::string_view id) {
    const auto known = read_bulk_id(question_.run, id);
    if (!known || known->producer >= lives_.size() || known->number >= lives_[known->producer].size()) {
      name(out_.unexpected, std::string(id));
      return nullptr;
    }
    return &lives_[known->producer][known->number];
  }

  void sent(const Line& line) {
    Life* one = life(line.id);
    if (one == nullptr) return;
    if (line.step == Step::attempted) one->attempted = true;
    if (line.step == Step::acknowledged) one->acknowledged = true;
    if (line.step == Step::in_doubt) one->in_doubt = true;
  }

  void ran(const Line& line) {
    Life* one = life(line.id);
    if (one == nullptr) return;
    if (line.step != Step::begin) {
      if (number_of(line.who) == one->who) one->ended_us = line.at_us;
      return;
    }
    out_.executions += 1;
    out_.by_worker[std::string(line.who.substr(0, line.who.find('-')))] += 1;
    // Began again: only after the worker that had it was lost.
    if (one->begins > 0) {
      if (const Loss* loss = lost_between(*one, line.at_us)) {
        out_.recoveries_us[loss->fault].push_back(line.at_us - loss->from_us);
      } else {
        name(out_.stolen, std::string(line.id) + ": began at " + std::to_string(one->begun_us) + " with " +
                              names_[one->who] +
                              (one->ended_us != 0 ? ", ended at " + std::to_string(one->ended_us) : ", not ended") +
                              ", again at " + std::to_string(line.at_us) + " with " + std::string(line.who));
      }
    }
    one->begins += 1;
    one->begun_us = line.at_us;
    one->ended_us = 0;
    one->who = number_of(line.who);
    out_.most_begins = std::max<std::int64_t>(out_.most_begins, one->begins);
  }

  // The loss that excuses beginning again; nullptr: there is none.
  const Loss* lost_between(const Life& life, std::int64_t until_us) const {
    const auto within = [&](const Loss& loss) { return loss.from_us <= until_us && loss.until_us >= life.begun_us; };
    const std::vector<Loss>& own = losses_[life.who];
    if (const auto found = std::find_if(own.begin(), own.end(), within); found != own.end()) return &*found;
    const auto all = numbers_.find("*");
    if (all == numbers_.end()) return nullptr;
    const std::vector<Loss>& everybody = losses_[all->second];
    const auto found = std::find_if(everybody.begin(), everybody.end(), within);
    return found == everybody.end() ? nullptr : &*found;
  }

  void count(std::uint32_t producer) {
    for (std::uint32_t i = 0; i < lives_[producer].size(); ++i) {
      const Life& one = lives_[producer][i];
      out_.attempted += one.attempted ? 1 : 0;
      out_.acknowledged += one.acknowledged ? 1 : 0;
      out_.in_doubt += one.in_doubt && !one.acknowledged ? 1 : 0;
      out_.repeated += one.begins > 1 ? 1 : 0;
      if (one.acknowledged && one.begins == 0) name(out_.lost, bulk_id(question_.run, {producer, i}) + ": never ran");
      if (!one.attempted && one.begins > 0)
        name(out_.unexpected, bulk_id(question_.run, {producer, i}) + ": ran, never sent");
    }
  }

  // Every id by itself, from the final store.
  void look_up() {
    std::vector<std::thread> readers;
    std::mutex mutex;
    std::exception_ptr failed;
    for (std::size_t reader = 0; reader < kReaders; ++reader) {
      readers.emplace_back([&, reader] {
        try {
          const auto results = open_result_backend(question_.results_url, question_.transport);
          for (std::uint32_t producer = 0; producer < lives_.size(); ++producer) {
            for (std::uint32_t i = static_cast<std::uint32_t>(reader); i < lives_[producer].size(); i += kReaders) {
              const Life& one = lives_[producer][i];
              const std::string id = bulk_id(question_.run, {producer, i});
              const auto stored = results->get(id);
              const bool good = stored && stored->state == state::success;
              const std::lock_guard lock(mutex);
              if (good) out_.succeeded += 1;
              if (good && !one.attempted) name(out_.unexpected, id + ": has a result, never sent");
              if (!good && (one.acknowledged || one.begins > 0)) {
                name(out_.lost, id + ": stored as " + (stored ? stored->state : std::string("nothing")));
              }
            }
          }
        } catch (...) {
          const std::lock_guard lock(mutex);
          failed = std::current_exception();
        }
      });
    }
    for (std::thread& one : readers) one.join();
    if (failed) std::rethrow_exception(failed);
  }

  const BulkQuestion& question_;
  std::vector<std::vector<Life>> lives_;
  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::vector<std::string> names_;
  std::vector<std::vector<Loss>> losses_;
  BulkVerdict out_;
};

}  // namespace

BulkVerdict judge_bulk(const BulkQuestion& question, const Losses& losses) { return Count(question, losses).judge(); }

}  // namespace errand::chaos
