#pragma once
// A private Redis server for one test program: own port, own directory, ended by pid.

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace errand::testing {

inline int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any);
  socklen_t size = sizeof any;
  getsockname(fd, reinterpret_cast<sockaddr*>(&any), &size);
  close(fd);
  return ntohs(any.sin_port);
}

class RedisServer {
 public:
  /// ERRAND_TEST_REDIS_SERVER names another binary (an older Redis, Valkey).
  explicit RedisServer(std::vector<std::string> more = {}) : port_(free_port()) {
    char name[] = "/tmp/errand-redis-XXXXXX";
    folder_ = mkdtemp(name);
    const char* chosen = std::getenv("ERRAND_TEST_REDIS_SERVER");
    std::vector<std::string> words{chosen == nullptr ? "redis-server" : chosen, "--port", std::to_string(port_), "--bind", "127.0.0.1",
                                   "--save", "", "--dir", folder_, "--unixsocket", socket_path(), "--logfile", folder_ + "/log"};
    words.insert(words.end(), more.begin(), more.end());
    pid_ = fork();
    if (pid_ == 0) {
      std::vector<char*> argv;
      for (std::string& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    for (int i = 0; i < 500 && !answers(); ++i) usleep(10'000);  // work: the server has no other way to say it is up
    if (!answers()) {
      stop();
      if (std::getenv("CI") != nullptr) FAIL("redis-server is missing, and CI must have it");
      MESSAGE("skipped: redis-server is not installed");
    }
  }
  ~RedisServer() { stop(); }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  bool runs() const { return pid_ > 0; }
  int port() const { return port_; }
  int pid() const { return pid_; }
  std::string socket_path() const { return folder_ + "/socket"; }
  std::string url(int database = 0) const { return "redis://127.0.0.1:" + std::to_string(port_) + "/" + std::to_string(database); }

 private:
  bool answers() const {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(port_));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool up = connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
    close(fd);
    return up;
  }
  void stop() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
    std::filesystem::remove_all(folder_);
  }

  int port_;
  int pid_ = 0;
  std::string folder_;
};

}  // namespace errand::testing
