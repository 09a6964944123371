#include "chaos/stage.hpp"

#include "core/uuid.hpp"
#include "support/redis_server.hpp"
#include "wire/redis/connection.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>
#include <cerrno>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace errand::chaos {

namespace {

constexpr const char* kSmallDisk = "size=64m";
constexpr std::chrono::seconds kServerPatience{30};

bool listens(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  where.sin_port = htons(static_cast<std::uint16_t>(port));
  const bool up = connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  close(fd);
  return up;
}

}  // namespace

Stage::Stage(const SoakOptions& options) : options_(options), folder_(options.folder) {
  if (folder_.empty()) {
    temporary_.emplace();
    folder_ = temporary_->path;
  } else {
    std::filesystem::create_directories(folder_);
  }
  folder_ = std::filesystem::absolute(folder_).string();
  store_folder_ = folder_ + "/store";
  std::filesystem::create_directories(store_folder_);
  run_ = core::uuid4().substr(0, 6);
  for (const std::string& fault : options.faults) {
    if (fault == "disk") mount_small_disk();
  }
  if (options.profile == "sqlite") {
    broker_url_ = "sqlite:///" + store_folder_ + "/errand.db";
  } else {
    port_ = testing::free_port();
    broker_url_ = "redis://127.0.0.1:" + std::to_string(port_) + "/0";
    start_server();
  }
}

Stage::~Stage() {
  server_.reset();
  if (mounted_) umount2(store_folder_.c_str(), MNT_DETACH);
}

TransportOptions Stage::transport() const {
  TransportOptions out;
  out.visibility_timeout = Milliseconds{options_.visibility_ms};
  out.publish_timeout = std::chrono::seconds(20);
  return out;
}

void Stage::mount_small_disk() {
  if (mount("errand-chaos", store_folder_.c_str(), "tmpfs", 0, kSmallDisk) != 0) {
    throw std::system_error(errno, std::generic_category(),
                            "the fault 'disk' mounts a small file system, which needs root");
  }
  mounted_ = true;
}

void Stage::start_server() {
  Process::Options server;
  server.words = {"redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1",     "--dir", store_folder_,
                  "--save",       "",       "--appendonly",        "yes",    "--appendfsync", "always"};
  server.output = file("redis.log");
  server_.emplace(server);
  const Deadline deadline = Deadline::after(kServerPatience);
  while (!listens(port_)) {
    if (deadline.passed() || !server_->running())
      throw std::runtime_error("redis-server does not start; see " + server.output);
    poll(nullptr, 0, 5);  // polls until it listens
  }
}

void Stage::stop_server(int signal) {
  server_->signal(signal);
  server_->wait(Deadline::after(kServerPatience));
  server_.reset();
}

void Stage::kill_clients() {
  Process::Options client;
  client.words = {"redis-cli", "-p", std::to_string(port_), "CLIENT", "KILL", "TYPE", "normal"};
  Process cli(client);
  cli.wait(Deadline::after(kServerPatience));
}

bool Stage::python_rests() const {
  redis::Connection connection(redis::parse_url(broker_url_));
  std::istringstream clients(connection.call({"CLIENT", "LIST", "TYPE", "normal"}).text);
  for (std::string client; std::getline(clients, client);) {
    if (client.find(" cmd=brpop ") == std::string::npos) continue;
    const std::string id = client.substr(3, client.find(' ') - 3);  // "id=7 addr=..."
    if (connection.call({"CLIENT", "UNBLOCK", id}).integer == 1) return true;
  }
  return false;
}

void Stage::fill_disk() {
  const int hog = open((store_folder_ + "/hog").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const std::string block(64u << 10, 'x');
  std::size_t size = block.size();
  while (size > 0) {
    if (write(hog, block.data(), size) <= 0) size /= 2;
  }
  close(hog);
}

void Stage::free_disk() { unlink((store_folder_ + "/hog").c_str()); }

Process Stage::start_worker(const std::string& name, bool python) const {
  Process::Options worker;
  worker.output = file(name.substr(0, name.find('-')) + ".log");
  if (python) {
    worker.words = {"/usr/bin/python3",
                    "-m",
                    "celery",
                    "-A",
                    "chaos_app",
                    "worker",
                    "-Q",
                    "chaos",
                    "-c",
                    std::to_string(options_.concurrency),
                    "-P",
                    "prefork",
                    "--without-gossip",
                    "--without-mingle",
                    "--without-heartbeat",
                    "-l",
                    "WARNING",
                    "-n",
                    name + "@chaos"};
    worker.environment = {{"CHAOS_BROKER", broker_url_},
                          {"CHAOS_EFFECTS", file("effects")},
                          {"CHAOS_NAME", name},
                          {"CHAOS_VISIBILITY", std::to_string(static_cast<double>(options_.visibility_ms) / 1000.0)},
                          {"PYTHONPATH", ERRAND_CHAOS_FOLDER},
                          {"PYTHONDONTWRITEBYTECODE", "1"}};
    return Process(worker);
  }
  worker.hold_sigterm = true;
  worker.words = {"/proc/self/exe", "worker",
                  "--broker",       broker_url_,
                  "--results",      options_.results ? broker_url_ : "disabled",
                  "--folder",       folder_,
                  "--name",         name,
                  "--lease",        std::to_string(options_.lease_ms),
                  "--visibility",   std::to_string(options_.visibility_ms),
                  "--pool",         options_.pool,
                  "--concurrency",  std::to_string(options_.concurrency),
                  "--quiet",        "1"};
  return Process(worker);
}

Process Stage::start_producer(std::uint32_t number, std::uint32_t count) const {
  Process::Options sender;
  const std::string name = "producer-" + std::to_string(number);
  sender.output = file("producer.log");
  sender.words = {"/proc/self/exe", "bulk-sender",
                  "--broker",       broker_url_,
                  "--results",      broker_url_,
                  "--folder",       folder_,
                  "--name",         name,
                  "--run",          run_,
                  "--producer",     std::to_string(number),
                  "--count",        std::to_string(count),
                  "--seed",         std::to_string(options_.seed),
                  "--nap",          std::to_string(options_.nap_ms),
                  "--long-ms",      std::to_string(options_.long_ms),
                  "--long-percent", std::to_string(options_.long_percent),
                  "--eta-ms",       std::to_string(options_.eta_ms),
                  "--pause-ms",     std::to_string(options_.sender_pause_ms),
                  "--batch",        options_.sender_pause_ms > 0 ? "5" : "500"};
  return Process(sender);
}

}  // namespace errand::chaos
