#pragma once
// Prefork: task bodies in child processes, so that one that crashes, hangs or eats memory hurts nobody else. Several
// short tasks are in flight per child, so that handing them over is not the limit; a long one never has another wait
// behind it while a child is free.

#include "pools/evidence.hpp"
#include "pools/output.hpp"
#include "pools/pace.hpp"
#include "pools/zygote.hpp"

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace errand::pools {

class PreforkPool final : public Pool {
 public:
  explicit PreforkPool(PoolOptions options);
  ~PreforkPool() override;

  std::string_view name() const noexcept override { return "prefork"; }
  void start(const Registry& registry, PoolSink& sink) override;
  std::size_t free_slots() const noexcept override;
  void run(std::span<Execution> executions) override;
  void cancel(std::uint64_t run, Cancel how, std::string_view reason) override;
  std::vector<std::uint64_t> reclaim() override;
  void stop(Deadline deadline) override;
  std::vector<int> processes() const override;

 private:
  // A task in a child or on its way there.
  struct Running {
    Execution execution;
    bool begun = false;
    SteadyPoint started{};
    std::optional<SteadyPoint> hard_at;
  };
  struct Child {
    int number = 0;
    pid_t pid = 0;  // 0: the zygote has not answered yet
    core::UniqueFd socket, output;
    ChildPage* page = nullptr;
    std::string in, out;
    TaskOutput written;
    LastLines lines;  // of the task that runs
    std::map<std::uint64_t, Running> runs;
    std::size_t handed = 0;       // ever
    Pace pace;                    // of the tasks it had
    std::uint64_t timed_out = 0;  // run that was killed at its hard limit
    std::uint64_t oom_kills = 0;  // of the machine when it began
    bool killed = false;          // by this pool
    bool retiring = false;        // takes no more; ends when it is done
    bool reclaiming = false;      // asked for what has not begun
    bool long_run = false;        // what it runs takes long
    bool spoke = false;           // has begun to work
    bool eof = false;
    bool garbled = false;    // what it says makes no sense
    bool wants_out = false;  // epoll watches for room to write
  };
  struct CancelRequest {
    std::uint64_t run;
    Cancel how;
    std::string reason;
  };

  // What epoll reports: these two, or a child's number and which of its descriptors.
  static constexpr std::uint64_t kWakeKey = 1, kZygoteKey = 2;

  // Everything below the mailbox runs on the pool's own thread.
  void serve();
  void take_mail();
  void assign();
  Child* roomiest();
  std::size_t depth(const Child& child) const noexcept;
  void report_ended();
  void spawn();
  void hand(Child& child, Execution execution);
  void write_out(Child& child);
  void read_in(Child& child);
  void read_output(Child& child);
  void log_line(Child& child, std::string_view event, std::uint64_t run, std::string_view line);
  void report_dropped(Child& child, const Execution& task);
  void take_frames(Child& child, std::string_view bytes);
  void kill_child(Child& child);
  void abandon(Child& child);
  void on_frame(Child& child, std::uint8_t type, std::string_view payload);
  void on_zygote();
  void without_zygote();
  void ended(Child& child, const Zygote::Event& event);
  void lost(Child& child, const Running& run, const Zygote::Event& event);
  bool try_to_spawn();
  void forget(Child& child);
  void spawn_later(std::string_view why);
  void check_clocks();
  void cancel_now(const CancelRequest& request);
  void retire_if_spent(Child& child, const Outcome& outcome);
  void publish_capacity();
  void watch(int fd, std::uint32_t events, std::uint64_t key);
  int wait_time() const;

  PoolOptions options_;
  RunnerOptions runner_;
  PoolSink* sink_ = nullptr;
  const Registry* registry_ = nullptr;
  std::unique_ptr<Zygote> zygote_;
  core::UniqueFd epoll_;
  core::EventFd wake_;
  std::thread thread_;

  mutable std::mutex mutex_;  // the mailbox
  std::vector<Execution> mail_;
  std::vector<CancelRequest> cancels_;
  bool reclaim_asked_ = false;
  std::vector<std::uint64_t> reclaimed_;
  std::size_t reclaims_open_ = 0;
  std::condition_variable reclaim_done_;
  std::optional<Deadline> stop_by_;
  std::vector<int> pids_;

  std::atomic<std::size_t> capacity_{0};
  std::atomic<std::size_t> in_flight_{0};
  std::deque<Execution> waiting_;
  std::vector<std::unique_ptr<Child>> children_;
  std::deque<Child*> spawning_;  // in the order in which the zygote will answer
  std::size_t failed_spawns_ = 0;
  SteadyPoint spawn_at_{};
  bool stopping_ = false;
  Deadline give_up_at_ = Deadline::never();  // while stopping: stop_by_, which is the mailbox's
  int next_number_ = 0;
  std::vector<Outcome> ended_;  // told, to be reported together
  std::vector<char> piece_;     // what one read takes at most
};

}  // namespace errand::pools
