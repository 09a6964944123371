#include "requirement_tasks.hpp"

#include <errand/failure_hook.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using errand::RetryPolicy;
using errand::Task;
using errand::TaskContext;
using errand::Value;

namespace {

// CP-5: this task exists because this file is linked; no other line names it.
constexpr Task<std::string(std::string)> linked{"cpp.linked", {"word"}};
const errand::Linked linked_task{
    linked, [](std::string word) { return "linked " + word; }, {.queue = "native", .retry = RetryPolicy::fixed(5s, 2)}};

struct ProviderAway : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ProviderRefused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr Task<void(std::string)> provider{"cpp.provider", {"error"}};
constexpr Task<void(std::string, std::int64_t)> hooked{"cpp.hooked", {"how", "portfolio_id"}};
constexpr Task<errand::Array(std::string, std::string, errand::Array, std::int64_t)> fan_out{
    "cpp.fan_out", {"name", "queue", "args", "count"}};
constexpr Task<std::string()> per_host{"cpp.per_host", {}};
constexpr Task<std::int64_t(std::int64_t, std::string, double)> callback{"cpp.callback", {"port", "path", "timeout"}};
constexpr Task<std::int64_t(std::int64_t, std::string, double)> delivery{"cpp.delivery", {"port", "path", "timeout"}};
constexpr Task<std::string(std::string, errand::Secret<std::string>)> secret_retry{"cpp.secret_retry",
                                                                                   {"user", "api_key"}};

struct Descriptor {
  int fd;
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() { close(fd); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

// One POST as a callback sender makes it: refused, silent, 429 and 5xx may be tried again, other answers may not.
std::int64_t post(std::int64_t port, const std::string& path, double timeout) {
  const Descriptor service(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(timeout);
  limit.tv_usec = static_cast<suseconds_t>((timeout - static_cast<double>(limit.tv_sec)) * 1e6);
  setsockopt(service.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(service.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(service.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw ProviderAway("the connection was refused");
  const std::string request = "POST " + path + " HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}";
  if (send(service.fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    throw ProviderAway("the connection broke");
  std::array<char, 64> answer{};
  const ssize_t n = recv(service.fd, answer.data(), answer.size() - 1, 0);
  if (n < 12) throw ProviderAway("no answer in time");
  const int status = std::atoi(answer.data() + 9);
  if (status == 429 || status >= 500) throw ProviderAway("status " + std::to_string(status));
  if (status >= 400) throw ProviderRefused("status " + std::to_string(status));
  return status;
}

}  // namespace

void register_requirement_tasks(errand::Registry& registry) {
  registry.add(provider,
               [](std::string error) {
                 if (error == "fatal") throw ProviderRefused("wrong credentials");
                 throw ProviderAway("the provider is away");
               },
               {.retry = RetryPolicy::fixed(50ms, 5),
                .retry_on = {errand::never_retry<ProviderRefused>(),
                             errand::retry_on<ProviderAway>(RetryPolicy::fixed(50ms, 2))}});

  registry.add(hooked,
               [](std::string how, std::int64_t) {
                 if (how == "throw") throw std::invalid_argument("thrown");
                 if (how == "kill") raise(SIGKILL);
                 for (;;) std::this_thread::sleep_for(1h);  // work, ended by its time limit
               },
               {.time_limit = 1s});
  // Whoever is told once writes one line; then it throws, which must change nothing.
  registry.use(hooked.name(), errand::failure_hook(hooked, [](TaskContext& task, const errand::Failure& why,
                                                              std::string how, std::int64_t portfolio) {
                 const char* path = std::getenv("INTEROP_HOOKS");
                 if (path == nullptr) return;
                 const std::string line =
                     task.id() + " " + why.type + " " + how + " " + std::to_string(portfolio) + "\n";
                 const Descriptor file(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
                 if (write(file.fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
                 throw std::runtime_error("the hook itself fails");
               }));

  registry.add(fan_out,
               [](TaskContext& task, std::string name, std::string queue, errand::Array args, std::int64_t count) {
                 errand::Array ids;
                 for (std::int64_t i = 0; i < count; ++i)
                   ids.emplace_back(task.send(errand::Signature(name, args).on(queue)));
                 return ids;
               });
  registry.add(per_host, [](TaskContext& task) { return task.request().queue; }, {.queue_required = true});
  registry.add(callback, [](std::int64_t port, std::string path, double timeout) { return post(port, path, timeout); },
               {.retry_on = {errand::retry_on<ProviderAway>(RetryPolicy::fixed(300ms, 5).into("callbacks-retry")),
                             errand::never_retry<ProviderRefused>()}});
  // Tried for as long as it takes.
  registry.add(delivery, [](std::int64_t port, std::string path, double timeout) { return post(port, path, timeout); },
               {.retry = RetryPolicy::fixed(2s, std::nullopt).into("callbacks-retry")});
  registry.add(secret_retry,
               [](TaskContext& task, std::string user, errand::Secret<std::string> key) {
                 if (task.retries() == 0) throw ProviderAway("once more");
                 return user + ":" + std::to_string(key.reveal().size());
               },
               {.retry = RetryPolicy::fixed(50ms, 2)});
}
