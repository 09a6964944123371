#pragma once
// What a Redis server answers (RESP2), as a value.

#include <cstdint>
#include <string>
#include <vector>

namespace errand::redis {

struct Reply {
  enum class Kind { nil, status, error, integer, text, array };
  Kind kind = Kind::nil;
  std::int64_t integer = 0;
  std::string text;             ///< status, error, text
  std::vector<Reply> elements;  ///< array

  bool is_nil() const noexcept { return kind == Kind::nil; }
  bool is_error() const noexcept { return kind == Kind::error; }
};

}  // namespace errand::redis
