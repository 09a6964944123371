#pragma once
// What happened in a simulated world, in order: hashed as a whole, the last of it kept for people.

#include <errand/time.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace errand::testing {

class Trace {
 public:
  static constexpr std::size_t kKept = 2'000;  ///< lines kept; the hash covers all
  Trace();
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  void add(std::chrono::nanoseconds at, std::string_view who, std::string_view what);
  /// SHA-256 of every line so far, in hexadecimal.
  std::string hash() const;
  std::size_t lines() const noexcept { return lines_; }
  const std::deque<std::string>& kept() const noexcept { return kept_; }
  /// Hears of every line as it comes.
  std::function<void(const std::string&)> listener;

 private:
  struct Digest;
  std::unique_ptr<Digest> digest_;
  std::deque<std::string> kept_;
  std::size_t lines_ = 0;
};

}  // namespace errand::testing
