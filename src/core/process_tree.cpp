#include "core/process_tree.hpp"

#include "core/fd.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace errand::core {

namespace {

constexpr std::size_t kMostProcesses = 20'000;  // of one look; an endless fork is killed long before

// What a file of /proc says; "": the process is gone.
std::string read_file(const char* path) {
  const UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
  std::string out;
  if (!file) return out;
  std::array<char, 4'096> piece;
  for (;;) {
    const ssize_t got = read(file.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return out;
    out.append(piece.data(), static_cast<std::size_t>(got));
  }
}

template <class T>
std::vector<T> numbers(std::string_view text) {
  std::vector<T> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    T value{};
    const auto [next, error] = std::from_chars(at, end, value);
    if (error == std::errc{}) out.push_back(value);
    at = error == std::errc{} ? next : at + 1;
    while (at < end && (*at == ' ' || *at == '\n')) ++at;
  }
  return out;
}

std::uint64_t field(std::string_view text, std::string_view name) {
  const auto at = text.find(name);
  if (at == std::string_view::npos) return 0;
  std::uint64_t value = 0;
  std::from_chars(text.data() + at + name.size(), text.data() + text.size(), value);
  return value;
}

void add_use(pid_t pid, TreeUse& use) {
  static const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  static const auto ticks = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/statm", pid);
  const auto memory = numbers<std::uint64_t>(read_file(path));
  if (memory.size() > 2 && memory[1] > memory[2]) use.memory += (memory[1] - memory[2]) * page;
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const std::string stat = read_file(path);
  // The name in parentheses may hold anything; the state follows, then numbers.
  const auto name_end = stat.rfind(") ");
  if (name_end != std::string::npos && name_end + 4 < stat.size()) {
    const auto fields = numbers<std::int64_t>(std::string_view(stat).substr(name_end + 4));
    for (std::size_t i = 10; i <= 13 && i < fields.size(); ++i) {
      use.cpu_ms += static_cast<std::uint64_t>(std::max<std::int64_t>(0, fields[i])) * 1'000 / ticks;
    }
  }
  std::snprintf(path, sizeof path, "/proc/%d/io", pid);
  const std::string io = read_file(path);
  const std::uint64_t written = field(io, "\nwrite_bytes: "), taken_back = field(io, "\ncancelled_write_bytes: ");
  if (written > taken_back) use.disk_bytes += written - taken_back;
}

std::vector<pid_t> below(pid_t root) {
  std::vector<pid_t> all{root};
  for (std::size_t i = 0; i < all.size() && all.size() < kMostProcesses; ++i) {
    for (const pid_t child : children_of(all[i])) {
      // One that changes its parent meanwhile may be seen twice.
      if (std::find(all.begin(), all.end(), child) == all.end()) all.push_back(child);
    }
  }
  return all;
}

}  // namespace

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> out;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR* threads = opendir(path);
  if (threads == nullptr) return out;
  while (const dirent* thread = readdir(threads)) {
    if (thread->d_name[0] == '.') continue;
    char file[384];
    std::snprintf(file, sizeof file, "%s/%s/children", path, thread->d_name);
    const auto found = numbers<pid_t>(read_file(file));
    out.insert(out.end(), found.begin(), found.end());
  }
  closedir(threads);
  return out;
}

TreeUse tree_use(pid_t root) {
  TreeUse use;
  const auto all = below(root);
  for (const pid_t pid : all) add_use(pid, use);
  use.started = all.size() - 1;
  return use;
}

bool has_children() noexcept {
  siginfo_t info{};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

std::size_t end_descendants(const std::vector<pid_t>& spare, unsigned most_ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(most_ms);
  const pid_t own_group = getpgrp();
  const auto spared = [&](pid_t pid) { return std::find(spare.begin(), spare.end(), pid) != spare.end(); };
  std::size_t ended = 0;
  for (;;) {
    std::vector<pid_t> children = children_of(getpid());
    std::erase_if(children, spared);
    if (children.empty()) return ended;
    // Groups first: what forks without end can be killed whole, but not one by one. What is below these comes to this
    // process when they are gone, and is found by the next round.
    for (const pid_t child : children) {
      const pid_t group = getpgid(child);
      if (group > 1 && group != own_group && !spared(group)) kill(-group, SIGKILL);
      kill(child, SIGKILL);
    }
    // Each wait frees children of the dead, which come to this process.
    for (const pid_t child : children) {
      while (true) {
        const pid_t got = waitpid(child, nullptr, WNOHANG);
        if (got == child) {
          ended += 1;
          break;
        }
        if (got < 0 && errno == ECHILD) break;
        if (std::chrono::steady_clock::now() >= end) return ended;
        poll(nullptr, 0, 1);
      }
    }
  }
}

}  // namespace errand::core
