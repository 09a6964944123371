// Any bytes: a time or none, and a time that was read is written so that it reads back equal.

#include "core/iso8601.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using errand::core::format_iso8601;
  using errand::core::parse_iso8601;
  const auto time = parse_iso8601(std::string_view(reinterpret_cast<const char*>(data), size));
  if (time && parse_iso8601(format_iso8601(*time)) != time) std::abort();
  return 0;
}
