#pragma once
// Tasks that misbehave, one per way to do so: for the tests of what a worker survives. Each is named zoo.<what>.

#include <errand/context.hpp>
#include <errand/registry.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace zoo {

// Named functions that are never inlined, so that a backtrace can be asked for them.
[[gnu::noinline]] inline void write_to_nowhere() {
  volatile int* volatile nowhere = nullptr;
  *nowhere = 42;
}
[[gnu::noinline]] inline int divide_by_nothing() {
  volatile int nothing = 0, result = 0;
  result = 100 / nothing;  // of 1 the compiler makes comparisons
  return result;
}
[[gnu::noinline]] inline void read_behind_the_file() {
  char name[] = "/tmp/errand-zoo-XXXXXX";
  const int fd = mkstemp(name);
  unlink(name);
  static_cast<void>(!ftruncate(fd, 8'192));
  auto* bytes = static_cast<volatile char*>(mmap(nullptr, 8'192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  static_cast<void>(!ftruncate(fd, 0));
  bytes[5'000] = 1;
}
// Not a loop the compiler may remove or turn into a jump: every frame is used after the call.
[[gnu::noinline]] inline int deeper(int n, const volatile char* above) {
  volatile char frame[4'096];
  frame[0] = above == nullptr ? char{0} : above[0];
  return n < 0 ? 0 : deeper(n + 1, frame) + frame[0];
}
struct ThrowsInDestructor {
  ~ThrowsInDestructor() noexcept(false) { throw std::runtime_error("thrown by a destructor"); }
};

inline void crash(const std::string& how) {
  if (how == "segv") write_to_nowhere();
  if (how == "abort") std::abort();
  if (how == "bus") read_behind_the_file();
  if (how == "ill") raise(SIGILL);
  if (how == "fpe") static_cast<void>(divide_by_nothing());
  if (how == "stack") static_cast<void>(deeper(0, nullptr));
  if (how == "terminate") std::terminate();
  if (how == "thread") std::thread([] { throw std::out_of_range("thrown by a thread"); }).join();
  if (how == "destructor") {
    const ThrowsInDestructor first;
    throw std::logic_error("and then by its scope");
  }
  if (how == "exit") std::exit(3);
  if (how == "_exit") _exit(4);
  if (how == "quick_exit") std::quick_exit(5);
  if (how == "group") kill(0, SIGKILL);
  if (how == "kill") kill(getpid(), SIGKILL);
  throw std::invalid_argument("no such crash: " + how);
}

inline void damage(const std::string& what) {
  if (what == "descriptors") close_range(0, ~0u, 0);
  if (what == "reused") {
    // The worker's numbers now name a file of the task's own.
    close_range(0, ~0u, 0);
    for (int i = 0; i < 32; ++i) static_cast<void>(!open("/dev/zero", O_RDWR));
  }
  if (what == "folder") static_cast<void>(!chdir("/"));
  if (what == "umask") umask(0);
  if (what == "signals") {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
  }
  if (what == "locale") std::setlocale(LC_ALL, "C.UTF-8");
}

// A process that nobody waits for: its parent is gone, it leads a session of its own, and it never ends.
inline std::int64_t leave_daemon() {
  int ends[2];
  static_cast<void>(!pipe(ends));
  const pid_t first = fork();
  if (first == 0) {
    setsid();
    const pid_t second = fork();
    if (second == 0) {
      for (;;) pause();
    }
    static_cast<void>(!write(ends[1], &second, sizeof second));
    _exit(0);
  }
  pid_t daemon = 0;
  static_cast<void>(!read(ends[0], &daemon, sizeof daemon));
  close(ends[0]);
  close(ends[1]);
  waitpid(first, nullptr, 0);
  return daemon;
}

// Forks until it is stopped, or until `most` processes are there: a limit that does not work must not hurt the machine.
inline void fork_without_end(std::int64_t most) {
  auto* count = static_cast<std::atomic<std::int64_t>*>(
      mmap(nullptr, 4'096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (;;) {
    if (count->load() < most && fork() == 0) count->fetch_add(1);
    std::this_thread::yield();
    usleep(2'000);  // work: two cores are shared with other tests
  }
}

inline void fill(const std::string& path, std::int64_t bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const std::vector<char> piece(64u << 10, 'x');
  for (std::int64_t done = 0; done < bytes;) {
    const ssize_t n = write(fd, piece.data(), piece.size());
    if (n < 0) throw std::runtime_error(std::strerror(errno));
    done += n;
  }
  fsync(fd);
  close(fd);
}

inline std::int64_t take_memory(std::int64_t bytes) {
  std::vector<std::unique_ptr<char[]>> held;
  constexpr std::int64_t kPiece = 1 << 20;
  std::int64_t sum = 0;
  for (std::int64_t done = 0; done < bytes; done += kPiece) {
    held.push_back(std::make_unique<char[]>(kPiece));
    std::memset(held.back().get(), 1, kPiece);
    sum += held.back()[kPiece / 2];
  }
  return sum;
}

inline void write_much(std::int64_t bytes, std::int64_t line, const std::string& ends_with) {
  const std::string text = std::string(static_cast<std::size_t>(line), 'x') + ends_with;
  for (std::int64_t done = 0; done < bytes; done += static_cast<std::int64_t>(text.size())) {
    std::size_t at = 0;
    while (at < text.size()) {
      const ssize_t n = write(STDOUT_FILENO, text.data() + at, text.size() - at);
      if (n <= 0) return;
      at += static_cast<std::size_t>(n);
    }
  }
}

inline constexpr errand::Task<void(std::string)> crash_task{"zoo.crash", {"how"}};
inline constexpr errand::Task<std::int64_t(std::string)> damage_task{"zoo.damage", {"what"}};
inline constexpr errand::Task<std::int64_t()> daemon_task{"zoo.daemon", {}};
inline constexpr errand::Task<void(std::int64_t)> bomb_task{"zoo.fork_bomb", {"most"}};
inline constexpr errand::Task<void(std::string, std::int64_t)> fill_task{"zoo.fill", {"path", "bytes"}};
inline constexpr errand::Task<std::int64_t(std::int64_t)> memory_task{"zoo.memory", {"bytes"}};
inline constexpr errand::Task<void(std::int64_t, std::int64_t, std::string)> output_task{
    "zoo.output", {"bytes", "line", "ends_with"}};
inline constexpr errand::Task<void()> spin_task{"zoo.spin", {}};
inline constexpr errand::Task<std::int64_t(double)> busy_task{"zoo.busy", {"seconds"}};
inline constexpr errand::Task<void()> block_task{"zoo.block", {}};
inline constexpr errand::Task<void()> throw_int_task{"zoo.throw_int", {}};
inline constexpr errand::Task<std::string(std::int64_t)> result_task{"zoo.result", {"bytes"}};
inline constexpr errand::Task<void(std::int64_t)> error_task{"zoo.error", {"bytes"}};
inline constexpr errand::Task<std::int64_t(double)> progress_task{"zoo.progress", {"seconds"}};
inline constexpr errand::Task<std::int64_t(std::int64_t)> leak_task{"zoo.leak", {"bytes"}};
inline constexpr errand::Task<std::int64_t()> pid_task{"zoo.pid", {}};
inline constexpr errand::Task<std::int64_t()> fork_and_return_task{"zoo.fork_and_return", {}};
inline constexpr errand::Task<std::int64_t(std::int64_t)> descriptors_task{"zoo.descriptors", {"most"}};
inline constexpr errand::Task<std::int64_t(double)> nap_task{"zoo.nap", {"seconds"}};

inline void add_to(errand::Registry& registry) {
  registry.add(crash_task, [](errand::TaskContext& task, std::string how) {
    task.log("about to crash: " + how);
    crash(how);
  });
  registry.add(damage_task, [](std::string what) {
    damage(what);
    return static_cast<std::int64_t>(getpid());
  });
  registry.add(daemon_task, [] { return leave_daemon(); });
  registry.add(bomb_task, [](std::int64_t most) { fork_without_end(most); }, {.limits = {.processes = 20}});
  registry.add(fill_task, [](std::string path, std::int64_t bytes) { fill(path, bytes); },
               {.limits = {.file_size = 4u << 20}});
  registry.add(memory_task, [](std::int64_t bytes) { return take_memory(bytes); }, {.limits = {.memory = 96u << 20}});
  registry.add(output_task, [](std::int64_t bytes, std::int64_t line, std::string ends_with) {
    write_much(bytes, line, ends_with);
  });
  registry.add(spin_task, [] {
    for (std::atomic<int> i = 0;; ++i) {
    }
  });
  registry.add(busy_task, [](double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::int64_t turns = 0;
    while (std::chrono::steady_clock::now() < end) turns += 1;
    return turns;
  });
  registry.add(block_task, [] {
    int ends[2];
    static_cast<void>(!pipe(ends));
    char byte = 0;
    static_cast<void>(!read(ends[0], &byte, 1));  // both ends are its own: it never returns
  });
  registry.add(throw_int_task, [] { throw 42; });
  registry.add(result_task, [](std::int64_t bytes) { return std::string(static_cast<std::size_t>(bytes), 'x'); });
  registry.add(error_task,
               [](std::int64_t bytes) { throw std::runtime_error(std::string(static_cast<std::size_t>(bytes), 'x')); });
  registry.add(progress_task, [](errand::TaskContext& task, double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::int64_t last = 0;
    while (std::chrono::steady_clock::now() < end) task.progress(++last, 1'000'000'000);
    return last;
  });
  registry.add(leak_task, [](std::int64_t bytes) {
    static std::vector<char*> leaked;
    leaked.push_back(new char[static_cast<std::size_t>(bytes)]);
    std::memset(leaked.back(), 1, static_cast<std::size_t>(bytes));
    static_cast<void>(open("/dev/null", O_RDONLY));
    return static_cast<std::int64_t>(getpid());
  });
  registry.add(pid_task, [] { return static_cast<std::int64_t>(getpid()); });
  registry.add(fork_and_return_task, [] {
    fork();  // the copy returns, too, as if it were the task
    return static_cast<std::int64_t>(getpid());
  });
  registry.add(descriptors_task,
               [](std::int64_t most) {
                 std::vector<int> held;
                 while (static_cast<std::int64_t>(held.size()) < most) {
                   const int fd = open("/dev/null", O_RDONLY);
                   if (fd < 0) break;
                   held.push_back(fd);
                 }
                 for (const int fd : held) close(fd);
                 return static_cast<std::int64_t>(held.size());
               },
               {.limits = {.open_files = 24}});
  registry.add(nap_task, [](double seconds) {
    usleep(static_cast<useconds_t>(seconds * 1e6));  // work: the task's own time
    return static_cast<std::int64_t>(getpid());
  });
}

}  // namespace zoo
