#include "brokers/sqlite/liveness.hpp"

#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

namespace errand::sqlite {

namespace {

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

std::string host() {
  char space[64] = {};
  const ssize_t length = readlink("/proc/self/ns/pid", space, sizeof space - 1);
  return boot_id() + "/" + std::string(space, length > 0 ? static_cast<std::size_t>(length) : 0);
}

std::optional<std::int64_t> start_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // The name in parentheses may hold anything; fields are counted after the last one. The start is the 20th there.
  std::size_t at = stat.rfind(')');
  if (at == std::string::npos) return std::nullopt;
  at += 1;
  for (int field = 0; field < 19; ++field) {
    at = stat.find(' ', at + 1);
    if (at == std::string::npos) return std::nullopt;
  }
  return std::strtoll(stat.c_str() + at + 1, nullptr, 10);
}

}  // namespace

Process this_process() {
  const auto pid = static_cast<std::int64_t>(getpid());
  return {pid, start_of(pid).value_or(0), host()};
}

bool may_be_alive(const Process& process) {
  const std::string here = host();
  if (process.host != here) {
    const std::string boot = boot_id();
    return process.host.substr(0, boot.size()) == boot;  // another namespace of this boot; of an earlier boot: dead
  }
  if (kill(static_cast<pid_t>(process.pid), 0) != 0 && errno == ESRCH) return false;
  const auto started = start_of(process.pid);
  return !started || process.started == 0 || *started == process.started;
}

}  // namespace errand::sqlite
