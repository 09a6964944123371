#include "testing/fiber.hpp"

#include <errand/error.hpp>

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ERRAND_FIBER_ASAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ERRAND_FIBER_ASAN
#endif

#ifdef ERRAND_FIBER_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, std::size_t* size_old);
}
#endif

// The C++ ABI's own names (Itanium C++ ABI, exception handling, 2.2.2).
// NOLINTBEGIN(bugprone-reserved-identifier)
namespace __cxxabiv1 {
struct __cxa_eh_globals;
extern "C" __cxa_eh_globals* __cxa_get_globals() noexcept;
}  // namespace __cxxabiv1
// NOLINTEND(bugprone-reserved-identifier)

namespace errand::testing {

namespace {

#ifdef ERRAND_FIBER_ASAN
constexpr std::size_t kStackBytes = std::size_t{2} << 20;
#else
constexpr std::size_t kStackBytes = std::size_t{512} << 10;
#endif
constexpr std::size_t kGuardBytes = 4'096;
constexpr std::size_t kMostSpare = 64;

// Stacks are taken and given back thousands of times in a simulated hour.
class Stacks {
 public:
  ~Stacks() {
    for (void* stack : spare_) munmap(stack, kStackBytes);
  }
  void* take() {
    if (!spare_.empty()) {
      void* stack = spare_.back();
      spare_.pop_back();
      return stack;
    }
    void* stack =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) {
      throw Error(
          {.kind = ErrorKind::overloaded, .operation = "simulation", .detail = "no memory for a fiber's stack"});
    }
    mprotect(stack, kGuardBytes, PROT_NONE);
    return stack;
  }
  void give_back(void* stack) {
    if (spare_.size() < kMostSpare)
      spare_.push_back(stack);
    else
      munmap(stack, kStackBytes);
  }

 private:
  std::vector<void*> spare_;
};

Stacks& stacks() {
  thread_local Stacks of_thread;
  return of_thread;
}

// The C++ runtime keeps the exceptions that are being handled per thread; each stack has its own.
struct Handled {
  void* caught;
  unsigned int uncaught;
};

void exchange(Handled& mine) {
  void* place = __cxxabiv1::__cxa_get_globals();
  Handled other{nullptr, 0};
  std::memcpy(&other, place, sizeof(void*) + sizeof(unsigned int));
  std::memcpy(place, &mine, sizeof(void*) + sizeof(unsigned int));
  mine = other;
}

thread_local Fiber* running = nullptr;

}  // namespace

struct Fiber::Impl {
  std::function<void()> body;
  ucontext_t own{}, caller{};
  Handled handled{nullptr, 0};
  Fiber* previous = nullptr;
  void* stack = nullptr;
  std::exception_ptr failure;
  bool started = false, ended = false, killed = false;
  void* fake_own = nullptr;
  void* fake_caller = nullptr;
  const void* caller_bottom = nullptr;
  std::size_t caller_size = 0;

  static void entry(unsigned int high, unsigned int low) {
    // makecontext(3) hands on nothing but ints.  NOLINTNEXTLINE(performance-no-int-to-ptr)
    auto* self = reinterpret_cast<Impl*>(std::uintptr_t{high} << 32 | low);
    self->arrived();
    try {
      if (!self->killed) self->body();
    } catch (const Killed&) {
      // As asked.
    } catch (...) {
      self->failure = std::current_exception();
    }
    self->ended = true;
    self->back(true);
  }

  void arrived() {
#ifdef ERRAND_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake_own, &caller_bottom, &caller_size);
#endif
  }

  void into() {
    exchange(handled);
#ifdef ERRAND_FIBER_ASAN
    __sanitizer_start_switch_fiber(&fake_caller, stack, kStackBytes);
#endif
    swapcontext(&caller, &own);
#ifdef ERRAND_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake_caller, nullptr, nullptr);
#endif
    exchange(handled);
  }

  void back([[maybe_unused]] bool for_good) {
#ifdef ERRAND_FIBER_ASAN
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_own, caller_bottom, caller_size);
#endif
    swapcontext(&own, &caller);
    arrived();
  }
};

Fiber::Fiber(std::function<void()> body) : impl_(std::make_unique<Impl>()) { impl_->body = std::move(body); }

Fiber::~Fiber() {
  if (impl_->started && !impl_->ended) kill();
  if (impl_->stack != nullptr) stacks().give_back(impl_->stack);
}

void Fiber::resume() {
  Impl& fiber = *impl_;
  if (fiber.ended) return;
  if (!fiber.started) {
    fiber.started = true;
    fiber.stack = stacks().take();
    getcontext(&fiber.own);
    fiber.own.uc_stack.ss_sp = fiber.stack;
    fiber.own.uc_stack.ss_size = kStackBytes;
    fiber.own.uc_link = nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(&fiber);
    makecontext(&fiber.own, reinterpret_cast<void (*)()>(&Impl::entry), 2, static_cast<unsigned int>(address >> 32),
                static_cast<unsigned int>(address));
  }
  fiber.previous = running;
  running = this;
  fiber.into();
  running = fiber.previous;
  if (fiber.ended) {
    stacks().give_back(std::exchange(fiber.stack, nullptr));
    if (fiber.failure) std::rethrow_exception(std::exchange(fiber.failure, nullptr));
  }
}

void Fiber::kill() {
  impl_->killed = true;
  if (!impl_->started) impl_->ended = true;
  // A body that catches everything goes on until it ends by itself; every wait on its way throws.
  if (!impl_->ended) resume();
}

bool Fiber::done() const noexcept { return impl_->ended; }
bool Fiber::killed() const noexcept { return impl_->killed; }

void Fiber::suspend() {
  Fiber* self = running;
  if (self == nullptr) {
    throw Error(
        {.kind = ErrorKind::bug, .operation = "simulation", .detail = "only a fiber can wait in simulated time"});
  }
  if (!self->impl_->killed) self->impl_->back(false);
  if (self->impl_->killed) throw Killed{};
}

Fiber* Fiber::current() noexcept { return running; }

}  // namespace errand::testing
