#pragma once
// Producer: one process that sends, through the real client.

#include "testing/process.hpp"

#include <errand/client.hpp>
#include <errand/error.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <optional>

namespace errand::testing {

class Producer {
 public:
  explicit Producer(Cluster& cluster);
  ~Producer();

  using Make = std::function<std::vector<Signature>()>;
  using Done = std::function<void(const Error* error)>;
  /// Sends in turn, one batch after the other.
  void send(Make make, Done done);
  /// As a Python client does: announces the chord, then sends its members.
  void send_chord(std::string group, std::vector<Signature> members, Signature body, Done done);
  bool idle() const noexcept { return jobs_.empty() && !busy_; }
  void shut_down();

 private:
  struct Job {
    std::function<std::optional<Error>(Client&)> run;
    Done done;
  };
  void add(Job job);
  void answered(std::span<const Signature> calls, const std::optional<Error>& failure);
  void work();
  Cluster& cluster_;
  std::shared_ptr<Process> process_;
  std::shared_ptr<Strand> strand_;
  std::deque<Job> jobs_;
  bool busy_ = false;
};

}  // namespace errand::testing
