#pragma once
// Whether the process that holds leases still lives: by pid and start time, if it is one we can see.

#include <cstdint>
#include <string>

namespace errand::sqlite {

struct Process {
  std::int64_t pid = 0;
  std::int64_t started = 0;  ///< clock ticks after boot, field 22 of /proc/<pid>/stat: tells a reused pid
  std::string host;          ///< boot id and pid namespace: only there does the pid mean anything
};

Process this_process();
/// False only when it has surely died. Of another boot it has; of another namespace nobody can say.
bool may_be_alive(const Process& process);

}  // namespace errand::sqlite
