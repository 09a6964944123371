#pragma once
// Random ids: UUID version 4 of RFC 9562, lower case, as Celery's task ids and delivery tags.

#include <cstdint>
#include <string>

namespace errand::core {

/// Unique across processes and forks. Cheap: the generator is seeded from the kernel once per thread and process.
/// Throws Error{unavailable} only where a sandbox forbids getrandom(2).
std::string uuid4();

/// While it lives, the ids and random bits of the thread that made it follow from the seed: for simulations, which must
/// be able to run again. Not nested.
class SeededRandom {
 public:
  explicit SeededRandom(std::uint64_t seed) noexcept;
  ~SeededRandom();
  SeededRandom(const SeededRandom&) = delete;
  SeededRandom& operator=(const SeededRandom&) = delete;
};

/// 64 random bits from the same generator; not for secrets.
std::uint64_t random_bits();

}  // namespace errand::core
