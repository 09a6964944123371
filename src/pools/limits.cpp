#include "pools/limits.hpp"

#include "core/process_tree.hpp"

#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <utility>

namespace errand::pools {

namespace {
constexpr std::uint64_t kMilli = 1'000;

std::uint64_t own_data_bytes() {
  // The kernel counts the same against RLIMIT_DATA.
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long long total = 0, resident = 0, shared = 0, text = 0, library = 0, data = 0;
  const int got =
      std::fscanf(file, "%llu %llu %llu %llu %llu %llu", &total, &resident, &shared, &text, &library, &data);
  std::fclose(file);
  return got == 6 ? data * page : 0;
}

}  // namespace

LimitKeeper::LimitKeeper()
    : own_{{RLIMIT_DATA, {}, false}, {RLIMIT_CPU, {}, false}, {RLIMIT_FSIZE, {}, false}, {RLIMIT_NOFILE, {}, false}} {
  for (Own& one : own_) getrlimit(static_cast<__rlimit_resource>(one.resource), &one.limit);
}

// Only the soft limit, so that the next task can have another one.
void LimitKeeper::lower(int resource, rlim_t limit) {
  for (Own& one : own_) {
    if (one.resource != resource) continue;
    rlimit wanted = one.limit;
    wanted.rlim_cur = std::min(limit, one.limit.rlim_cur);
    one.lowered = setrlimit(static_cast<__rlimit_resource>(resource), &wanted) == 0;
    set_ = set_ || one.lowered;
  }
}

void LimitKeeper::begin(const ResourceLimits& limits) {
  if (!limits.any()) return;
  limits_ = limits;
  // A process that is above the limit before it begins (a sanitizer's shadow memory) is only looked at.
  if (limits.memory && own_data_bytes() < *limits.memory) lower(RLIMIT_DATA, *limits.memory);
  if (limits.file_size) lower(RLIMIT_FSIZE, *limits.file_size);
  if (limits.open_files) lower(RLIMIT_NOFILE, *limits.open_files);
  if (limits.memory || limits.cpu_time || limits.disk || limits.processes) {
    const core::TreeUse before = core::tree_use(getpid());
    cpu_before_ = before.cpu_ms;
    disk_before_ = before.disk_bytes;
    watching_ = true;
  }
  if (limits.cpu_time) {
    // In whole seconds since the process began: for a process whose looking thread gets no turn.
    const std::uint64_t most = cpu_before_ + static_cast<std::uint64_t>(limits.cpu_time->count());
    lower(RLIMIT_CPU, most / kMilli + 2);
  }
}

void LimitKeeper::end() {
  watching_ = false;
  if (!std::exchange(set_, false)) return;
  for (Own& one : own_) {
    if (std::exchange(one.lowered, false)) setrlimit(static_cast<__rlimit_resource>(one.resource), &one.limit);
  }
}

bool LimitKeeper::over(ChildPage& page) const {
  const core::TreeUse use = core::tree_use(getpid());
  const auto passed = [&](Limit limit, std::uint64_t used) {
    const auto most = limit_value(limit, limits_);
    if (!most || used <= *most) return false;
    page.over.used = used;
    page.over.limit = limit;
    return true;
  };
  return passed(Limit::processes, use.started) || passed(Limit::memory, use.memory) ||
         passed(Limit::cpu_time, use.cpu_ms - std::min(use.cpu_ms, cpu_before_)) ||
         passed(Limit::disk, use.disk_bytes - std::min(use.disk_bytes, disk_before_));
}

}  // namespace errand::pools
