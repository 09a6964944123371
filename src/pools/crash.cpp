#include "pools/crash.hpp"

#include <cxxabi.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <typeinfo>

namespace errand::pools {

// A name of its own, by which a backtrace leaves these functions out.
namespace crash {
namespace {

constexpr unsigned kMostSeconds = 2;          // a handler that hangs is ended by the alarm
constexpr std::uint64_t kNearStack = 65'536;  // a fault this near to the stack pointer is the end of the stack

ChildPage* page = nullptr;
void (*last_act)() noexcept = nullptr;
pid_t owner = 0;

_Unwind_Reason_Code one_frame(_Unwind_Context* context, void* data) {
  auto& note = *static_cast<CrashNote*>(data);
  const std::uint32_t at = note.frames.load(std::memory_order_relaxed);
  if (at >= kMostFrames) return _URC_END_OF_STACK;
  int exact = 0;
  const auto address = _Unwind_GetIPInfo(context, &exact);
  if (address == 0) return _URC_END_OF_STACK;
  // A return address is behind its call, perhaps behind its function. Each frame is written before the next is
  // looked for: a damaged stack ends the walk with a second signal, and what was found stays.
  note.frame[at] = address - (exact != 0 ? 0 : 1);
  note.frames.store(at + 1, std::memory_order_release);
  return _URC_NO_REASON;
}

void walk(CrashNote& note) { _Unwind_Backtrace(one_frame, &note); }

struct Place {
  std::uint64_t code = 0, stack = 0;
};

Place place_of(const void* context) {
  [[maybe_unused]] const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return {static_cast<std::uint64_t>(machine.gregs[REG_RIP]), static_cast<std::uint64_t>(machine.gregs[REG_RSP])};
#elif defined(__aarch64__)
  return {machine.pc, machine.sp};
#else
  return {};
#endif
}

void crashed(int number, siginfo_t* info, void* context) {
  int none = 0;
  // The first crash is the one that is told about; one inside this handler, or of another thread, ends the process.
  if (getpid() == owner && page->crash.signal.compare_exchange_strong(none, number)) {
    signal(SIGALRM, SIG_DFL);
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarms, nullptr);
    alarm(kMostSeconds);
    CrashNote& note = page->crash;
    const Place place = place_of(context);
    const auto fault = reinterpret_cast<std::uintptr_t>(info->si_addr);
    note.code = info->si_code;
    note.at = place.code;
    note.stack = number == SIGSEGV && info->si_code > 0 && place.stack != 0 && fault + kNearStack > place.stack &&
                 fault < place.stack + kNearStack;
    last_act();
    walk(note);
  }
  signal(number, SIG_DFL);
  raise(number);
}

// Not a signal handler: it may allocate. abort() then runs the one above.
[[noreturn]] void terminated() noexcept {
  if (getpid() == owner) {
    const char* type = "no exception";
    char* readable = nullptr;
    std::array<char, 400> what{};
    if (const std::type_info* thrown = abi::__cxa_current_exception_type(); thrown != nullptr) {
      int failed = 0;
      readable = abi::__cxa_demangle(thrown->name(), nullptr, nullptr, &failed);
      type = readable != nullptr ? readable : thrown->name();
      try {
        throw;
      } catch (const std::exception& error) {
        std::snprintf(what.data(), what.size(), ": %s", error.what());
      } catch (...) {
      }
    }
    std::snprintf(page->crash.said.data(), page->crash.said.size(), "std::terminate: %s%s", type, what.data());
    std::free(readable);
  }
  std::abort();
}

void leaves() {
  if (getpid() != owner || page->running.load() == 0 || page->crash.left.exchange(true)) return;
  last_act();
  walk(page->crash);
}

// exit() would go on to destroy what other threads of this process still use.
void leaves_by_exit(int status, void*) {
  if (getpid() != owner) return;
  leaves();
  std::fflush(stdout);
  std::fflush(stderr);
  _exit(status);
}

}  // namespace
}  // namespace crash

void prepare_backtraces() {
  CrashNote unused;
  crash::walk(unused);
}

void watch_for_crashes(ChildPage& shared, void (*act)() noexcept) {
  crash::page = &shared;
  crash::last_act = act;
  crash::owner = getpid();
  // A stack of its own, because the task's may be what ran out.
  static std::array<char, 64u << 10> stack;
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  sigaltstack(&alternate, nullptr);
  struct sigaction action{};
  action.sa_sigaction = crash::crashed;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
  for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ}) {
    sigaction(number, &action, nullptr);
  }
  std::set_terminate(crash::terminated);
  on_exit(crash::leaves_by_exit, nullptr);
  at_quick_exit(crash::leaves);
}

}  // namespace errand::pools
