#include "core/uuid.hpp"

#include <sys/random.h>
#include <unistd.h>
#include <errand/error.hpp>

#include <array>
#include <cerrno>
#include <cstring>

namespace errand::core {

namespace {

// xoshiro256** (Blackman and Vigna): fast, with 256 bits of state, which is what makes collisions of 122-bit ids
// between processes as unlikely as their randomness promises.
class Generator {
 public:
  std::uint64_t next() {
    // A forked child must not repeat its parent's ids.
    const pid_t pid = getpid();
    if (pid != pid_) seed(pid);
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  // SplitMix64 (Steele, Lea and Flood), as xoshiro's authors advise to fill its state.
  void seed_with(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) {
      std::uint64_t z = seed += 0x9e3779b97f4a7c15ULL;
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
      z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
      word = z ^ z >> 31;
    }
    pid_ = getpid();
  }
  void forget_seed() noexcept { pid_ = 0; }

 private:
  static std::uint64_t rotate(std::uint64_t value, int by) { return value << by | value >> (64 - by); }

  void seed(pid_t pid) {
    std::size_t got = 0;
    auto* bytes = reinterpret_cast<char*>(state_.data());
    while (got < sizeof state_) {
      const ssize_t n = getrandom(bytes + got, sizeof state_ - got, 0);
      if (n > 0) {
        got += static_cast<std::size_t>(n);
      } else if (errno != EINTR) {
        throw Error({.kind = ErrorKind::unavailable,
                     .operation = "getrandom",
                     .detail = std::string("the kernel gives no random bytes: ") + std::strerror(errno)});
      }
    }
    pid_ = pid;
  }

  std::array<std::uint64_t, 4> state_{};
  pid_t pid_ = 0;
};

Generator& generator() {
  thread_local Generator of_thread;
  return of_thread;
}

}  // namespace

std::uint64_t random_bits() { return generator().next(); }

SeededRandom::SeededRandom(std::uint64_t seed) noexcept { generator().seed_with(seed); }
SeededRandom::~SeededRandom() { generator().forget_seed(); }

std::string uuid4() {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<std::uint64_t, 2> bits{random_bits(), random_bits()};
  bits[0] = (bits[0] & ~0xf000ULL) | 0x4000ULL;                         // version 4
  bits[1] = (bits[1] & 0x3fffffffffffffffULL) | 0x8000000000000000ULL;  // variant 10
  std::string text(36, '-');
  std::size_t at = 0;
  for (const std::uint64_t half : bits) {
    for (int shift = 60; shift >= 0; shift -= 4) {
      if (at == 8 || at == 13 || at == 18 || at == 23) ++at;
      text[at++] = kHex[half >> shift & 15];
    }
  }
  return text;
}

}  // namespace errand::core
