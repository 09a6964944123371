#pragma once
// What a soak runs on: the store (a file or a private Redis server with its append-only file) and the processes around
// it, each held by a pidfd.

#include "chaos/bulk.hpp"
#include "chaos/process.hpp"
#include "chaos/soak.hpp"
#include "support/folder.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace errand::chaos {

class Stage {
 public:
  explicit Stage(const SoakOptions& options);
  ~Stage();

  const std::string& run() const noexcept { return run_; }
  const std::string& broker_url() const noexcept { return broker_url_; }
  TransportOptions transport() const;
  std::string file(const std::string& name) const { return folder_ + "/" + name; }

  void start_server();
  void stop_server(int signal);
  bool has_server() const noexcept { return server_.has_value(); }
  void kill_clients();
  /// Whether Python's workers wait for a message and have none half taken: kombu pops a message with one command and
  /// writes down that it has it with the next, so that one who dies in between loses it, whoever shares the queue
  /// (kombu/transport/redis.py, _brpop_start and QoS.append). They are woken from that wait without a message. Only for
  /// one Python worker, which is stopped.
  bool python_rests() const;
  /// Leaves no byte free where the store is; only in a folder of its own file system.
  void fill_disk();
  void free_disk();

  Process start_worker(const std::string& name, bool python) const;
  Process start_producer(std::uint32_t number, std::uint32_t count) const;

 private:
  void mount_small_disk();
  const SoakOptions& options_;
  std::optional<testing::Folder> temporary_;
  std::string folder_, store_folder_, run_, broker_url_;
  bool mounted_ = false;
  int port_ = 0;
  std::optional<Process> server_;
};

}  // namespace errand::chaos
