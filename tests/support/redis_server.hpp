#pragma once
// A private Redis server for one test: own port, own socket, own directory, ended by pid.
//
//   RedisServer server({"--requirepass", "right"});
//   if (!server.runs()) return;                       // not installed: a skip here, a failure in CI

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
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

/// Runs a program to its end; false: not installed, or it failed.
inline bool run_program(std::vector<std::string> words) {
  const pid_t pid = fork();
  if (pid == 0) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (std::freopen("/dev/null", "w", stderr) == nullptr || std::freopen("/dev/null", "w", stdout) == nullptr)
      _exit(126);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class RedisServer {
 public:
  /// ERRAND_TEST_REDIS_SERVER names another binary (an older Redis, Valkey).
  explicit RedisServer(std::vector<std::string> more = {}, bool tls = false)
      : port_(free_port()), more_(std::move(more)) {
    char name[] = "/tmp/errand-redis-XXXXXX";
    folder_ = mkdtemp(name);
    if (tls) make_certificate();
    start();
  }
  ~RedisServer() {
    stop();
    std::filesystem::remove_all(folder_);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  bool runs() const { return pid_ > 0; }
  int port() const { return port_; }
  int pid() const { return pid_; }
  std::string folder() const { return folder_; }
  std::string socket_path() const { return folder_ + "/socket"; }
  std::string certificate() const { return folder_ + "/cert.pem"; }
  std::string url(int database = 0) const {
    return "redis://127.0.0.1:" + std::to_string(port_) + "/" + std::to_string(database);
  }
  /// The certificate is its own authority and names localhost only.
  std::string tls_url(const std::string& host = "localhost", const std::string& more = "") const {
    return "rediss://" + host + ":" + std::to_string(tls_port_) + "/0?ssl_ca_certs=" + certificate() + more;
  }

  void start() {
    const char* chosen = std::getenv("ERRAND_TEST_REDIS_SERVER");
    std::vector<std::string> words{chosen == nullptr ? "redis-server" : chosen,
                                   "--port",
                                   std::to_string(port_),
                                   "--bind",
                                   "127.0.0.1",
                                   "--save",
                                   "",
                                   "--dir",
                                   folder_,
                                   "--unixsocket",
                                   socket_path(),
                                   "--logfile",
                                   folder_ + "/log"};
    words.insert(words.end(), more_.begin(), more_.end());
    pid_ = fork();
    if (pid_ == 0) {
      std::vector<char*> argv;
      for (std::string& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!answers()) {
      if (std::chrono::steady_clock::now() < limit && waitpid(pid_, nullptr, WNOHANG) == 0) {
        poll(nullptr, 0, 5);  // polls until the server has its socket
        continue;
      }
      stop();
      if (std::getenv("CI") != nullptr) throw std::runtime_error("redis-server is missing, and CI must have it");
      std::puts("skipped: redis-server is not installed");
      return;
    }
  }
  void stop(int signal = SIGKILL) {
    if (pid_ <= 0) return;
    kill(pid_, SIGCONT);
    kill(pid_, signal);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  // The Unix socket is the last thing that the server opens.
  bool answers() const {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    socket_path().copy(where.sun_path, sizeof where.sun_path - 1);
    const bool up = connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
    close(fd);
    return up;
  }
  void make_certificate() {
    tls_port_ = free_port();
    const std::string key = folder_ + "/key.pem";
    if (!run_program({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                      "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
                      certificate()})) {
      throw std::runtime_error("openssl is missing");
    }
    for (const std::string& word :
         {std::string("--tls-port"), std::to_string(tls_port_), std::string("--tls-cert-file"), certificate(),
          std::string("--tls-key-file"), key, std::string("--tls-ca-cert-file"), certificate(),
          std::string("--tls-auth-clients"), std::string("optional")}) {
      more_.push_back(word);
    }
  }

  int port_;
  int tls_port_ = 0;
  int pid_ = 0;
  std::string folder_;
  std::vector<std::string> more_;
};

}  // namespace errand::testing
